"""Segments whose bytes follow from what is seen, without any codec."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from clients.codec import CodecFlags
from clients.luma import INPUT_SIZE
from clients.protocol import SegmentFormat
from configs.ladder import CompressionSpace
from configs.timing import SegmentTiming
from rl.bitrate.data import SizedSegments
from rl.profiles.sizes import MOTION_BINS, SegmentSizes
from rl.profiles.store import SizesOrigin

TIMING = SegmentTiming(seconds=1, fps=2)


@pytest.fixture(scope="session")
def origin() -> SizesOrigin:
    return SizesOrigin(codec=CodecFlags(), space=CompressionSpace(scales=(1.0,), qps=(20, 24, 30)))


@pytest.fixture(scope="session")
def made_up() -> Callable[[int, int], SizedSegments]:
    """`drives` clips of `each` segments: noise whose strength decides about the bytes."""

    def make(drives: int, each: int) -> SizedSegments:
        rng = np.random.default_rng(0)
        segments, names = [], []
        for drive in range(drives):
            for index in range(each):
                strength = rng.uniform(2, 60)
                luma = (128 + strength * rng.uniform(-1, 1, (TIMING.frames, *INPUT_SIZE))).astype(np.uint8)
                base = 4000 * strength
                segments.append(
                    SegmentSizes(
                        clip=f"clip{drive}",
                        index=index,
                        format=SegmentFormat(seconds=1, fps=2, width=1280, height=720),
                        bytes=np.array([base, 0.6 * base, 0.3 * base]).astype(np.int64),
                        frame_types="IP",
                        motion=np.zeros((2, MOTION_BINS), np.int64),
                        luma=luma,
                    )
                )
                names.append(f"drive{drive}")
        return SizedSegments(TIMING, tuple(segments), tuple(names), ("real",) * len(names))

    return make
