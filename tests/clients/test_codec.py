"""The codec's promises: N frames in are N frames out, IDR first, B-frames, bytes by setting."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.codec import (
    CodecFlags,
    DecodeError,
    DecodeLimits,
    Image,
    decode_segment,
    encode_segment,
    scaled_size,
)
from clients.scene import StreetScene
from configs.ladder import CompressionSetting, load_ladder

LIMITS = DecodeLimits(width=1280, height=720, frames=120)
COMPRESSION = load_ladder().settings


def moving(frames: int, width: int, height: int) -> list[Image]:
    """A textured ramp that moves by two pixels a frame."""
    y, x = np.mgrid[0:height, 0:width]
    return [
        np.stack([(x + 2 * k) * 3 % 256, y * 2 % 256, (x + y + 2 * k) % 256], -1).astype(np.uint8)
        for k in range(frames)
    ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    setting=st.sampled_from(COMPRESSION),
    frames=st.integers(1, 31),
    width=st.integers(16, 80).map(lambda n: 2 * n),
    height=st.integers(16, 60).map(lambda n: 2 * n),
)
def test_every_frame_comes_back(setting: CompressionSetting, frames: int, width: int, height: int) -> None:
    decoded = decode_segment(encode_segment(moving(frames, width, height), setting, 15), LIMITS)
    assert len(decoded) == frames
    assert {frame.shape[1::-1] for frame in decoded} == {scaled_size(width, height, setting.scale)}


def test_first_frame_is_idr_and_b_frames_are_used() -> None:
    data = encode_segment(moving(15, 160, 96), CompressionSetting(1.0, 24), 15)
    with av.open(io.BytesIO(data), "r") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert [packet.is_keyframe for packet in packets] == [True] + [False] * 14
    with av.open(io.BytesIO(data), "r") as container:
        frames = list(container.decode(video=0))
    assert frames[0].key_frame
    assert any(frame.pict_type == PictureType.B for frame in frames)
    times = [frame.pts for frame in frames]
    assert times == sorted(set(times))


def test_frames_come_back_in_order() -> None:
    grey = [np.full((64, 64, 3), 12 * k, np.uint8) for k in range(20)]
    levels = [
        float(frame.mean()) for frame in decode_segment(encode_segment(grey, COMPRESSION[0], 15), LIMITS)
    ]
    assert levels == sorted(levels)


def test_bytes_fall_with_qp_and_with_scale() -> None:
    scene = StreetScene(3, 320, 180)
    frames = [scene.frame(k / 15) for k in range(6)]
    flags = CodecFlags(preset="ultrafast")
    sizes = {s: len(encode_segment(frames, s, 15, flags)) for s in COMPRESSION}
    for a in COMPRESSION:
        for b in COMPRESSION:
            if a != b and a.scale >= b.scale and a.qp <= b.qp:
                assert sizes[a] > sizes[b], (a, b)


def test_a_segment_needs_a_frame() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        encode_segment([], COMPRESSION[0], 15)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodeLimits(width=64, height=64, frames=3), "at most 3 frames"),
        (DecodeLimits(width=32, height=64, frames=9), "at most 32x64"),
    ],
)
def test_limits_hold(limits: DecodeLimits, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_segment(encode_segment(moving(5, 64, 64), COMPRESSION[0], 15), limits)


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_segment(data, LIMITS)
