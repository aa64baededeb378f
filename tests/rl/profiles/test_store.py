"""Profiles on disk: what was written is read, whole or not at all, and nothing of another making."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.codec import CodecFlags
from clients.luma import INPUT_SIZE
from clients.protocol import SegmentFormat
from configs.ladder import CompressionSpace
from rl.profiles.logits import packed, softmax_error, unpacked
from rl.profiles.outcomes import SegmentOutcomes
from rl.profiles.sizes import MOTION_BINS, SegmentSizes
from rl.profiles.store import ProfileError, SizesOrigin, read_sizes, sizes_path, stored_sizes, write_sizes
from rl.profiles.store_outcomes import (
    OutcomesOrigin,
    outcomes_path,
    read_outcomes,
    stored_outcomes,
    write_outcomes,
)
from serving.miou import Overlap

ORIGIN = SizesOrigin(codec=CodecFlags(), space=CompressionSpace(scales=(1.0,), qps=(20, 30)))
FAMILY = OutcomesOrigin(family="tiny-0123456789ab", frame_stride=2)


def some_sizes(clip: str = "street", index: int = 0) -> SegmentSizes:
    rng = np.random.default_rng(index)
    return SegmentSizes(
        clip=clip,
        index=index,
        format=SegmentFormat(seconds=1, fps=2, width=1280, height=720),
        bytes=np.array([900, 400]),
        frame_types="IP",
        motion=rng.integers(0, 100, (2, MOTION_BINS)),
        luma=rng.integers(0, 256, (2, *INPUT_SIZE), dtype=np.uint8),
    )


def some_outcomes(with_truth: bool) -> SegmentOutcomes:
    rng = np.random.default_rng(3)
    predicted = rng.integers(1, 50, (4, 2, 3)).astype(np.int32)
    counts = Overlap(rng.integers(60, 90, (1, 2, 3)).astype(np.int32), predicted, predicted // 2)
    truth = Overlap(counts.reference[:, :1], predicted[:, :1], predicted[:, :1] // 3) if with_truth else None
    logits = tuple(rng.integers(0, 256, (3, 4, 5), dtype=np.uint8) for _ in range(4))
    return SegmentOutcomes("street", 7, np.array([900, 400]), counts, truth, logits)


def test_sizes_come_back_with_luma_left_on_disk(tmp_path: Path) -> None:
    written = some_sizes()
    path = sizes_path(tmp_path, "1s-2fps", "street", 0)
    write_sizes(path, ORIGIN, written)
    read = read_sizes(path, ORIGIN)
    assert (read.clip, read.index, read.format) == (written.clip, written.index, written.format)
    assert read.frame_types == "IP"
    for name in ("bytes", "motion", "luma"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    assert not read.luma.flags.owndata
    assert not read.luma.flags.writeable
    assert not list(tmp_path.rglob("*.partial"))


def test_segments_are_read_by_clip_and_time(tmp_path: Path) -> None:
    for clip, index in (("b", 0), ("a", 11), ("a", 2)):
        write_sizes(sizes_path(tmp_path, "1s-2fps", clip, index), ORIGIN, some_sizes(clip, index))
    found = [(s.clip, s.index) for s in stored_sizes(tmp_path, "1s-2fps", ORIGIN)]
    assert found == [("a", 2), ("a", 11), ("b", 0)]
    with pytest.raises(ProfileError, match="no sizes for 2s-2fps: record them with penance-profile"):
        next(stored_sizes(tmp_path, "2s-2fps", ORIGIN))


def test_sizes_of_other_flags_are_refused(tmp_path: Path) -> None:
    path = sizes_path(tmp_path, "1s-2fps", "street", 0)
    write_sizes(path, ORIGIN, some_sizes())
    other = ORIGIN.model_copy(update={"codec": CodecFlags(preset="slow")})
    with pytest.raises(ProfileError, match="another bundle or other flags"):
        read_sizes(path, other)


@pytest.mark.parametrize("damage", [b"", b"no arrow at all", None])
def test_damaged_files_are_named(tmp_path: Path, damage: bytes | None) -> None:
    path = sizes_path(tmp_path, "1s-2fps", "street", 0)
    write_sizes(path, ORIGIN, some_sizes())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(ProfileError, match="damaged: delete it and record it again"):
        read_sizes(path, ORIGIN)


@pytest.mark.parametrize("with_truth", [False, True])
def test_outcomes_come_back(tmp_path: Path, with_truth: bool) -> None:
    written = some_outcomes(with_truth)
    path = outcomes_path(tmp_path, "1s-2fps", FAMILY.family, "street", 7)
    write_outcomes(path, FAMILY, written, "some processor")
    read = read_outcomes(path, FAMILY, with_logits=True)
    np.testing.assert_array_equal(read.miou(), written.miou())
    np.testing.assert_array_equal(read.bytes, written.bytes)
    for found, expected in zip(read.logits, written.logits, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (read.truth is not None) == with_truth
    if read.truth is not None and written.truth is not None:
        np.testing.assert_array_equal(read.truth.shared, written.truth.shared)


def test_outcomes_of_another_family_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = outcomes_path(tmp_path, "1s-2fps", FAMILY.family, "street", 7)
    write_outcomes(path, FAMILY, some_outcomes(False), "some processor")
    other = FAMILY.model_copy(update={"family": "tiny-ffffffffffff"})
    with pytest.raises(
        ProfileError, match=r"no outcomes of tiny-f+ for 1s-2fps .*made with: tiny-0123456789ab"
    ):
        next(stored_outcomes(tmp_path, "1s-2fps", other.family))
    with pytest.raises(ProfileError, match="another bundle"):
        read_outcomes(path, other)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20))
def test_eight_bits_cost_little_softmax(seed: int, spread: float) -> None:
    logits = np.random.default_rng(seed).normal(0, spread, (19, 4, 5)).astype(np.float32)
    assert softmax_error(logits) < 0.015


def test_packing_loses_nothing() -> None:
    steps = np.random.default_rng(0).integers(0, 256, (19, 6, 7), dtype=np.uint8)
    np.testing.assert_array_equal(unpacked(packed(steps), (19, 6, 7)), steps)
