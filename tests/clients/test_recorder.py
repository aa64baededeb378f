"""Colours of classes are stable and distinct."""

from __future__ import annotations

import numpy as np

from clients.palette import CITYSCAPES, palette


def test_cityscapes_names_have_their_colours_and_others_distinct_ones() -> None:
    names = [*CITYSCAPES, "gargoyle", "Traffic_Light", "well", "gate"]
    colours = palette(names)
    assert colours.shape == (256, 3)
    assert tuple(colours[0]) == (128, 64, 128)
    assert tuple(colours[names.index("Traffic_Light")]) == CITYSCAPES["traffic light"]
    distinct = {tuple(int(c) for c in colours[k]) for k in range(len(names))}
    assert len(distinct) == len(names) - 1
    assert np.array_equal(colours, palette(names))
