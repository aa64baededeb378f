"""The demo street's large surfaces: which pixel sees which metre of ground or house front.

A straight street seen from a camera that drives along it: the lookup from screen to metres is fixed, so a
frame only moves the textures by the distance driven.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clients import scenery
from clients.scenery import CLEAR, Floats, Pixels

CAMERA_HEIGHT = 1.5  # m
LEFT_WALL, RIGHT_WALL = -12.0, 8.5  # m right of the camera
LEFT_KERB, RIGHT_KERB = -8.0, 4.5
CENTRE_LINE = -1.75
LENGTH = 192.0  # m after which the street repeats
WALL_HEIGHT, DENSITY = 15.0, 18  # m, pixels a metre


@dataclass(frozen=True, slots=True)
class View:
    """A camera that looks along the street; all in pixels."""

    width: int
    height: int

    @property
    def focal(self) -> float:
        return 0.7 * self.width

    @property
    def horizon(self) -> int:
        return int(0.46 * self.height)

    @property
    def middle(self) -> int:
        return self.width // 2


class Wall:
    """House fronts along one side, seen through a lookup table from screen to metres."""

    def __init__(self, texture: Pixels, x: float, columns: slice, view: View) -> None:
        self._columns = columns
        u = np.arange(columns.start, columns.stop) + 0.5 - view.middle
        depth = view.focal * x / u
        levels = [texture]
        while len(levels) < 5:
            levels.append(scenery.halve(levels[-1]))
        clear = np.array([np.uint32(CLEAR) << 24], np.uint32)
        self._texels = np.concatenate([*(level.ravel() for level in levels), clear])
        density = np.array([DENSITY / 2**k for k in range(len(levels))])
        which = np.clip(np.log2(DENSITY * depth / view.focal + 1e-9), 0, len(levels) - 1).astype(int)
        starts = np.cumsum([0] + [level.size for level in levels])[which]
        self._density, self._depth = density[which], depth
        self._length = np.array([level.shape[1] for level in levels])[which]
        lowest = int(view.horizon + CAMERA_HEIGHT * view.focal / depth.min()) + 1
        self._rows = min(lowest, view.height)
        metres = CAMERA_HEIGHT - (np.arange(self._rows)[:, None] + 0.5 - view.horizon) * depth / view.focal
        texel_row = np.floor(metres * self._density).astype(int)
        inside = (metres >= 0) & (texel_row < np.array([level.shape[0] for level in levels])[which])
        self._outside = ~inside
        self._static = np.where(inside, starts + texel_row * self._length, 0).astype(np.int32)

    def draw(self, canvas: Pixels, driven: float) -> None:
        moved = (((self._depth + driven) % LENGTH) * self._density).astype(np.int32) % self._length
        index = self._static + moved.astype(np.int32)
        index[self._outside] = len(self._texels) - 1
        picture = self._texels.take(index)
        np.copyto(canvas[: self._rows, self._columns], picture, where=(picture >> 24) != CLEAR)


class Ground:
    """Road and pavements: material by position, brightness by a noise texture that moves past."""

    _SIZE = 1024  # of the texture, at 32 pixels a metre

    def __init__(self, rng: np.random.Generator, view: View, house_heights: Floats) -> None:
        self._house_heights = house_heights  # of the side that the sun is on, by texture column
        self._top = view.horizon + 2
        v = np.arange(self._top, view.height) + 0.5 - view.horizon
        self._depth = view.focal * CAMERA_HEIGHT / v
        self._x = ((np.arange(view.width) + 0.5 - view.middle) * self._depth[:, None] / view.focal).astype(
            np.float32
        )
        x = self._x
        noise = scenery.fractal_noise(rng, self._SIZE, self._SIZE, 16, 6)
        noise += rng.normal(0, 0.09, noise.shape).astype(np.float32)
        self._texture = np.clip(noise * 63, 0, 63).astype(np.uint8).ravel()
        self._across = (np.floor(x * 32).astype(np.int32) % self._SIZE).astype(np.int32)
        self._material = np.zeros(x.shape, np.uint8)
        self._material[(x < LEFT_KERB) | (x > RIGHT_KERB)] = 1
        width = np.maximum(0.12, self._depth[:, None] / 900)
        for kerb in (LEFT_KERB, RIGHT_KERB):
            self._material[np.abs(x - kerb) < width] = 2
        for edge in (LEFT_KERB + 2.2, RIGHT_KERB - 2.2 + 0.9):
            self._material[np.abs(x - edge) < width / 2] = 3
        self._dashes = np.abs(x - CENTRE_LINE) < width * 0.6
        self._stripes = (x > LEFT_KERB + 0.4) & (x < RIGHT_KERB - 0.4) & (x % 1.0 < 0.5)
        self._palette = self._colours()

    def _colours(self) -> Pixels:
        """Pixels by (in shadow, material, brightness 0..63), flattened."""
        materials = (
            ((120, 120, 122), scenery.ROAD),
            ((164, 158, 150), scenery.SIDEWALK),
            ((176, 172, 166), scenery.SIDEWALK),
            ((214, 214, 208), scenery.ROAD),
        )
        level = (0.68 + 0.64 * np.arange(64) / 63)[:, None]
        lit = [scenery.pack(np.array(colour) * level, label) for colour, label in materials]
        dark = [
            scenery.pack(np.array(colour) * level * (0.60, 0.63, 0.68), label) for colour, label in materials
        ]
        return np.concatenate(lit + dark)

    def draw(self, canvas: Pixels, driven: float) -> None:
        z = self._depth + driven
        row = (np.floor(z * 32).astype(np.int64) % self._SIZE * self._SIZE).astype(np.int32)
        brightness = self._texture.take(self._across + row[:, None])
        index = self._material.astype(np.uint16) << 6
        index[self._dashes & (z % 9 < 3)[:, None]] = 3 << 6
        index[self._stripes & (z % 96 < 3.5)[:, None]] = 3 << 6
        heights = self._house_heights[((z % LENGTH) * DENSITY).astype(int) % len(self._house_heights)]
        index += ((self._x > (RIGHT_WALL - 0.55 * heights)[:, None]) * np.uint16(4 << 6)).astype(np.uint16)
        canvas[self._top :] = self._palette.take(index + brightness)
