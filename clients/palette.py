"""Colours of classes: Cityscapes' own where the name is one of its 19, distinct made-up ones otherwise."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CITYSCAPES = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
GOLDEN = 0.61803398875  # successive multiples, modulo 1, stay far apart on the hue circle


def palette(classes: Sequence[str]) -> NDArray[np.uint8]:
    """(256, 3) RGB by class id; ids without a name are black."""
    colours = np.zeros((256, 3), np.uint8)
    for index, name in enumerate(classes):
        hue = index * GOLDEN % 1.0
        made_up = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.65, 0.95 - 0.25 * (index % 2)))
        colours[index] = CITYSCAPES.get(name.strip().lower().replace("_", " "), made_up)
    return colours
