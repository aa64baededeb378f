"""Generated scenes beside real video, by the statistics that an estimator lives on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from configs.ladder import CompressionSetting
from rl.bitrate.data import SizedSegments
from rl.bitrate.likeness import autocorrelation, full_size_clips, likeness
from rl.profiles.index import ClipIndex, IndexedClip

SETTINGS = [CompressionSetting(1.0, qp) for qp in (20, 24, 30)]
Make = Callable[[int, int], SizedSegments]


def scaled(data: SizedSegments, *factors: float) -> SizedSegments:
    """The same segments with every setting's bytes times a factor."""
    segments = [
        replace(s, bytes=(s.bytes * np.array(factors)).round().astype(np.int64)) for s in data.segments
    ]
    return replace(data, segments=tuple(segments))


def test_the_same_segments_are_alike_in_everything(made_up: Make) -> None:
    data = made_up(3, 4)
    rows = likeness(data, data, SETTINGS)
    assert len(rows) == 4 * 3 + 1
    assert all(row.apart == 0 for row in rows)


def test_each_difference_shows_in_its_own_row(made_up: Make) -> None:
    data = made_up(3, 4)
    rows = {row.statistic: row for row in likeness(data, scaled(data, 2, 2, 1), SETTINGS)}
    assert rows["kB at the best setting, P50"].apart == pytest.approx(1, abs=1e-3)
    assert rows["ratio at 1 / 24, P90"].apart == pytest.approx(0, abs=1e-3)
    assert rows["ratio at 1 / 30, P10"].apart == pytest.approx(-0.5, abs=1e-3)
    assert rows["lag-1 autocorrelation of sizes"].apart == pytest.approx(0, abs=1e-3)


def test_autocorrelation_never_reaches_over_from_one_clip_to_the_next(made_up: Make) -> None:
    data = made_up(2, 3)
    sizes = [100, 200, 300, 1_000, 1_100, 1_200]
    segments = tuple(
        replace(s, bytes=np.array([size, size, size])) for s, size in zip(data.segments, sizes, strict=True)
    )
    pairs = np.array([(100, 200), (200, 300), (1_000, 1_100), (1_100, 1_200)])
    expected = np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]
    assert autocorrelation(replace(data, segments=segments)) == pytest.approx(expected)
    with pytest.raises(ValueError, match="record more"):
        autocorrelation(made_up(3, 1))


def test_only_clips_that_were_filmed_at_full_size_count() -> None:
    def clip(name: str, width: int, height: int) -> IndexedClip:
        return IndexedClip(
            name=name, file=f"{name}.mp4", drive=name, split="train", width=width, height=height
        )

    index = ClipIndex([clip("large", 1920, 1080), clip("just", 1280, 720), clip("small", 640, 360)])
    assert full_size_clips(index) == {"large", "just"}
