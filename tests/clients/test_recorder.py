"""Colours of classes are stable and distinct, and the recorded page holds any number of them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.palette import CITYSCAPES, palette
from clients.recorder import Recorder


def test_cityscapes_names_have_their_colours_and_others_distinct_ones() -> None:
    names = [*CITYSCAPES, "gargoyle", "Traffic_Light", "well", "gate"]
    colours = palette(names)
    assert colours.shape == (256, 3)
    assert tuple(colours[0]) == (128, 64, 128)
    assert tuple(colours[names.index("Traffic_Light")]) == CITYSCAPES["traffic light"]
    distinct = {tuple(int(c) for c in colours[k]) for k in range(len(names))}
    assert len(distinct) == len(names) - 1
    assert np.array_equal(colours, palette(names))


@given(st.integers(2, 255), st.sets(st.sampled_from(sorted(CITYSCAPES))))
def test_any_number_of_classes_has_distinct_colours(count: int, known: set[str]) -> None:
    names = [*sorted(known), *(f"class {number}" for number in range(count))][:255]
    colours = palette(names)
    assert len({tuple(int(c) for c in colour) for colour in colours[: len(names)]}) == len(names)


@pytest.mark.parametrize("count", [2, 255])
def test_any_number_of_classes_fits_the_legend(tmp_path: Path, count: int) -> None:
    names = [f"class {number}" for number in range(count)]
    with Recorder(tmp_path / "out.mp4", names, 15, (320, 180)) as recorder:
        legend = recorder._legend
        page = np.concatenate([np.zeros((recorder._stream.height - len(legend), 1280, 3), np.uint8), legend])
        recorder._container.mux(recorder._stream.encode(av.VideoFrame.from_ndarray(page, "rgb24")))
    shown = {tuple(int(c) for c in colour) for colour in legend.reshape(-1, 3)}
    assert {tuple(int(c) for c in colour) for colour in palette(names)[:count]} <= shown
