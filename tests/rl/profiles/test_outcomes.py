"""Outcomes of every configuration with tiny networks, on made-up pictures that lie in a video file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.codec import CodecFlags, encode_segment, rgb
from clients.errors import SourceError
from clients.source import Frame, VideoSource
from configs.ladder import CompressionSetting, Ladder, VariantSpec
from rl.profiles.clips import Clip, ClipSegment, evenly_spaced, find_clips, open_clip, read_segments
from rl.profiles.outcomes import Profile, compress, segment_outcomes
from serving.vss.architecture import Architecture
from serving.vss.hardware import REFERENCE
from serving.vss.network import Network
from serving.vss.pspnet import PSPNet
from serving.vss.torch_network import TorchNetwork

LADDER = Ladder(
    scales=(1.0, 0.5),
    qps=(20, 30),
    variants=tuple(VariantSpec(name=f"v{n}", sparsity=s) for n, s in enumerate((0.0, 0.5, 0.75))),
)
SIZE, FPS = (160, 90), 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 3.4 seconds at 5 fps, one too short, and a file that is no video."""
    made = tmp_path_factory.mktemp("clips")
    blocks = np.random.default_rng(0).integers(0, 256, (9, 16, 3)).astype(np.uint8)
    picture = blocks.repeat(10, 0).repeat(10, 1)
    frames = [np.roll(picture, 3 * index, axis=1) for index in range(17)]
    setting = CompressionSetting(1.0, 18)
    (made / "street.mp4").write_bytes(encode_segment(frames, setting, FPS))
    (made / "glimpse.mp4").write_bytes(encode_segment(frames[:3], setting, FPS))
    (made / "notes.txt").write_text("no video")
    return made


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return open_clip(folder / "street.mp4")


@pytest.fixture(scope="module")
def networks(tiny: Architecture, lived_in: Callable[[PSPNet], PSPNet]) -> list[Network]:
    torch.manual_seed(0)
    return [TorchNetwork(lived_in(PSPNet(tiny)), REFERENCE) for _ in LADDER.variants]


def small(segment: ClipSegment) -> ClipSegment:
    """The segment at the size that it was made at, for speed."""
    width, height = SIZE
    frames: list[Frame] = [rgb(frame)[:: 720 // height, :: 1280 // width] for frame in segment.frames]
    form = segment.format.model_copy(update={"width": width, "height": height})
    return replace(segment, format=form, frames=frames)


def test_clips_keep_their_rate_and_tell_what_they_were(clip: Clip) -> None:
    assert clip.native_size == SIZE
    assert clip.native_fps == FPS
    assert (clip.format.fps, clip.format.width, clip.format.height) == (FPS, 1280, 720)
    assert clip.chosen == (0, 1, 2)
    segments = list(read_segments(clip))
    assert [len(segment.frames) for segment in segments] == [FPS] * 3
    np.testing.assert_allclose(np.concatenate([s.times for s in segments]), np.arange(15) / FPS, atol=1e-3)


def test_clips_that_hold_no_segment_are_left_out_with_a_reason(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    assert [clip.name for clip in find_clips(folder, 1, lines.append)] == ["street"]
    assert len(lines) == 1
    assert "glimpse.mp4: shorter than one segment" in lines[0]
    with pytest.raises(SourceError, match="no video"):
        find_clips(tmp_path, None, lines.append)


def test_segments_are_chosen_evenly() -> None:
    assert evenly_spaced(3, 3) == (0, 1, 2)
    assert evenly_spaced(10, 2) == (2, 7)
    assert evenly_spaced(41, 1) == (20,)
    assert evenly_spaced(2, 9) == (0, 1)


def test_counting_packets_finds_the_segments_that_decoding_finds(data: Path) -> None:
    for name in ("crosswalk_us_campus", "motorway_autumn_bridge"):  # a slow one of uneven times, and 25 fps
        path = data / "clips" / "test" / f"{name}.mp4"
        assert len(open_clip(path).chosen) == sum(1 for _ in VideoSource(str(path)).segments())


def test_every_configuration_has_its_outcome(clip: Clip, networks: list[Network]) -> None:
    segment = small(next(read_segments(clip)))
    done: list[CompressionSetting] = []
    found = segment_outcomes(segment, LADDER, CodecFlags(), networks, 2, done.append)
    assert done == list(LADDER.settings)
    assert found.bytes.tolist() == [len(compress(segment, s, CodecFlags())) for s in LADDER.settings]
    assert found.overlap.predicted.shape == (len(LADDER), 3, 19)
    assert found.overlap.reference.sum() == 3 * SIZE[0] * SIZE[1]
    miou = found.miou()
    assert miou.shape == (len(LADDER),)
    assert miou[0] == 1
    assert (miou[1:] < 1).all()
    again = segment_outcomes(segment, LADDER, CodecFlags(), networks, 2)
    assert (again.miou() == miou).all()

    profile = Profile("test", LADDER, tuple("abcdefghijklmnopqrs"), (1.0,) * 12, CodecFlags(), (found, again))
    assert profile.bytes.shape == (2, len(LADDER.settings))
    assert profile.miou().shape == (2, len(LADDER))
    total = profile.total_overlap()
    assert total.reference.shape == (1, 19)
    assert total.reference.sum() == 2 * found.overlap.reference.sum()
