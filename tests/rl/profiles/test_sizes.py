"""Sizes are the camera's own uploads, and what the codec did is read from them."""

from __future__ import annotations

import numpy as np
import pytest

from clients.codec import CodecFlags
from clients.protocol import SegmentFormat
from clients.source import Frame
from configs.ladder import CompressionSetting
from rl.profiles.clips import ClipSegment
from rl.profiles.outcomes import compress
from rl.profiles.sizes import encode_all, segment_sizes

SETTINGS = tuple(CompressionSetting(scale, qp) for scale in (1.0, 0.5) for qp in (20, 30))


@pytest.fixture(scope="module")
def segment() -> ClipSegment:
    """A picture that moves 4 pixels to the right a frame."""
    blocks = np.random.default_rng(0).integers(0, 256, (24, 48, 3)).astype(np.uint8)
    picture = blocks.repeat(8, 0).repeat(8, 1)
    frames: list[Frame] = [np.roll(picture, 4 * n, axis=1) for n in range(5)]
    form = SegmentFormat(seconds=1, fps=5, width=384, height=192)
    return ClipSegment("moving", 3, form, frames, tuple(n / 5 for n in range(5)))


def test_scaling_once_changes_no_byte(segment: ClipSegment) -> None:
    bodies = encode_all(segment, SETTINGS, CodecFlags())
    assert bodies == [compress(segment, setting, CodecFlags()) for setting in SETTINGS]


def test_what_the_codec_did(segment: ClipSegment) -> None:
    sizes = segment_sizes(segment, encode_all(segment, SETTINGS, CodecFlags()))
    assert (sizes.clip, sizes.index) == ("moving", 3)
    assert sizes.bytes[0] > sizes.bytes[1]
    assert sizes.bytes[2] > sizes.bytes[3]
    assert sizes.frame_types[0] == "I"
    assert set(sizes.frame_types[1:]) <= set("PB")
    assert sizes.luma.shape == (5, 360, 640)
    sideways, upright = sizes.motion
    assert sideways[4:].sum() > 0.5 * sideways.sum()  # by 4 pixels a frame or, across B-frames, more
    assert upright[0] > 0.9 * upright.sum()
