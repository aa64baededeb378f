"""The demo street: a generated drive through a town, so that the product can be tried without any video.

Own work, deterministic by seed and time, with exact labels. A car drives along a straight street: textured
ground and house fronts are looked up per pixel by perspective (which pixel sees which metre is fixed, only
the distance driven moves), trees, lamps, people and cars are sprites drawn from far to near, then haze,
passing clouds' light and sensor noise go over everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clients import scenery
from clients.codec import Image
from clients.scenery import CLEAR, Pixels, Sprite
from clients.surfaces import (
    CAMERA_HEIGHT,
    DENSITY,
    LEFT_KERB,
    LEFT_WALL,
    LENGTH,
    RIGHT_KERB,
    RIGHT_WALL,
    WALL_HEIGHT,
    Ground,
    View,
    Wall,
)

SPEED = 8.0  # m/s of the traffic, and of the camera unless it is told otherwise
FARTHEST, NEAREST = 140.0, 3.0  # m at which sprites appear and vanish
HAZE = np.array([196, 205, 212])
_HAZE_PIXEL = 212 << 16 | 205 << 8 | 196
HAZE_LENGTH = 130.0  # m after which 63 % is haze
_PAINTS = [(150, 152, 156), (46, 50, 58), (120, 28, 30), (36, 62, 110), (196, 198, 196), (88, 92, 84)]


@dataclass(frozen=True, slots=True)
class Thing:
    """A sprite at (x, z) metres; `speed` along the street; cars have a side, people have steps."""

    x: float
    z: float
    sprites: tuple[Sprite, ...]
    side: Sprite | None = None
    speed: float = 0.0
    mirrored: bool = False


class StreetScene:
    """Frames of the street at any time; frames are (height, width, 3) RGB, label maps (height, width). The
    camera drives at `speed` m/s; at 0 it stands."""

    def __init__(self, seed: int = 0, width: int = 1280, height: int = 720, speed: float = SPEED) -> None:
        rng = np.random.default_rng(seed)
        self._seed, self.width, self.height, self._speed = seed, width, height, speed
        view = View(width, height)
        self._focal, self._horizon, self._middle = view.focal, view.horizon, view.middle
        sky = scenery.sky_panorama(rng, self._horizon + 8, width)
        self._sky = np.concatenate([sky, sky], 1)  # so that any window of the drifting clouds is one slice
        self._far = self._far_trees(rng)
        sides = [scenery.facades(rng, LENGTH, WALL_HEIGHT, DENSITY) for _ in range(2)]
        self._ground = Ground(rng, view, sides[1][1])
        self._walls = [
            Wall(sides[0][0], LEFT_WALL, slice(0, self._middle - 40), view),
            Wall(sides[1][0], RIGHT_WALL, slice(self._middle + 40, width), view),
        ]
        self._things = _furnish(rng)
        self._haze_weight = self._static_haze()
        grain = rng.normal(7, 1.0, (height + 64, width + 64)).clip(0, 15).astype(np.uint32)
        self._grain = grain * np.uint32(0x010101)

    def frame(self, time: float) -> Image:
        """The picture at `time` seconds."""
        return self._finish(self._draw(time), time)

    def labelled(self, time: float) -> tuple[Image, NDArray[np.uint8]]:
        """The picture at `time` seconds and the Cityscapes class id of each of its pixels."""
        canvas = self._draw(time)
        labels = (canvas >> 24).astype(np.uint8)
        return self._finish(canvas, time), labels

    def _draw(self, time: float) -> Pixels:
        driven = self._speed * time
        canvas = np.empty((self.height, self.width), np.uint32)
        drift = int(6 * time) % self.width
        canvas[: self._sky.shape[0]] = self._sky[:, drift : drift + self.width]
        rows = self._far.shape[0]
        band = canvas[self._horizon + 4 - rows : self._horizon + 4]
        np.copyto(band, self._far, where=(self._far >> 24) != CLEAR)
        self._ground.draw(canvas, driven)
        for wall in self._walls:
            wall.draw(canvas, driven)
        self._haze(canvas)
        self._draw_things(canvas, time, driven)
        return canvas

    def _draw_things(self, canvas: Pixels, time: float, driven: float) -> None:
        ahead = [(t, (t.z + t.speed * time - driven - NEAREST) % LENGTH + NEAREST) for t in self._things]
        for thing, z in sorted(((t, z) for t, z in ahead if z < FARTHEST), key=lambda pair: -pair[1]):
            step = int(time * 7 + thing.x * 3) % len(thing.sprites)
            sprite = thing.sprites[step]
            haze = 1 - np.exp(-z / HAZE_LENGTH)
            self._shadow(canvas, thing, z)
            if thing.side is not None and abs(thing.x) > 1.0:
                self._draw_side(canvas, thing, z, haze)
            self._draw_sprite(canvas, thing, z, sprite, haze)

    def _draw_sprite(self, canvas: Pixels, thing: Thing, z: float, sprite: Sprite, haze: float) -> None:
        """A sprite that faces the camera, standing on the ground."""
        zoom = self._focal / z
        left = self._middle + (thing.x - sprite.width / 2) * zoom
        bottom = self._horizon + CAMERA_HEIGHT * zoom
        u0, u1 = max(0, round(left)), min(self.width, round(left + sprite.width * zoom))
        v0, v1 = max(0, round(bottom - sprite.height * zoom)), min(self.height, round(bottom))
        if u0 >= u1 or v0 >= v1:
            return
        level = _level(sprite, zoom)
        rows = (level.shape[0] * (1 - (bottom - np.arange(v0, v1) - 0.5) / (sprite.height * zoom))).astype(
            int
        )
        columns = ((np.arange(u0, u1) + 0.5 - left) / (sprite.width * zoom) * level.shape[1]).astype(int)
        if thing.mirrored:
            columns = level.shape[1] - 1 - columns
        picture = level[rows.clip(0, level.shape[0] - 1)[:, None], columns.clip(0, level.shape[1] - 1)]
        _stamp(canvas[v0:v1, u0:u1], picture, haze)

    def _draw_side(self, canvas: Pixels, thing: Thing, z: float, haze: float) -> None:
        """The side of a car that the camera sees: a plane along the street, drawn column by column."""
        side = thing.side
        assert side is not None
        x = thing.x - np.sign(thing.x) * 0.88
        ends = sorted(self._middle + self._focal * x / d for d in (z, z + side.width))
        u = np.arange(max(0, round(ends[0])), min(self.width, round(ends[1])))
        if not len(u):
            return
        depth = self._focal * x / (u + 0.5 - self._middle)
        zoom = self._focal / depth
        bottom, tall = self._horizon + CAMERA_HEIGHT * zoom, side.height * zoom
        v = np.arange(max(0, int((bottom - tall).min())), min(self.height, int(bottom.max()) + 1))
        level = _level(side, float(zoom.mean()))
        rows = np.floor(level.shape[0] * (1 - (bottom - v[:, None] - 0.5) / tall)).astype(int)
        columns = ((depth - z) / side.width * level.shape[1]).astype(int).clip(0, level.shape[1] - 1)
        if thing.mirrored:  # it comes towards us: its bonnet is the near end
            columns = level.shape[1] - 1 - columns
        picture = level[rows.clip(0, level.shape[0] - 1), columns]
        picture[(rows < 0) | (rows >= level.shape[0])] = np.uint32(CLEAR) << 24
        _stamp(canvas[v[0] : v[-1] + 1, u[0] : u[-1] + 1], picture, haze)

    def _shadow(self, canvas: Pixels, thing: Thing, z: float) -> None:
        """Darkens the ground under a thing; the ground keeps its class."""
        deep = 4.3 if thing.side is not None else 0.5
        zoom, far = self._focal / z, self._focal / (z + deep)
        bottom, top = self._horizon + CAMERA_HEIGHT * zoom, self._horizon + CAMERA_HEIGHT * far
        half = (1.0 if thing.side is not None else 0.35) * zoom
        centre = self._middle + thing.x * zoom
        u0, u1 = max(0, int(centre - half)), min(self.width, int(centre + half))
        v0, v1 = int(top), min(self.height, int(bottom + 0.08 * zoom))
        if u0 >= u1 or v0 >= v1:
            return
        ground = canvas[v0:v1, u0:u1]
        dark = (ground >> 1) & 0x7F7F7F
        across = (np.arange(u0, u1) - centre) / half
        along = (np.arange(v0, v1)[:, None] - top) / (bottom + 0.08 * zoom - top) * 2 - 1
        inside = across**4 + along**4 < 1
        np.copyto(ground, dark | (ground & np.uint32(0xFF000000)), where=inside)

    def _far_trees(self, rng: np.random.Generator) -> Pixels:
        """The line of trees at the end of the street."""
        rows = max(8, self.height // 12)
        outline = scenery.fractal_noise(rng, 64, 2 * self.width, 2, 6)[20, : self.width]
        y = np.arange(rows, 0, -1)[:, None] / rows
        leaf = rng.normal(1, 0.08, (rows, self.width, 1))
        colour = np.array([112, 128, 104]) * leaf * 0.75 + HAZE * 0.25
        return scenery.pack(colour, np.where(y < 0.25 + 0.6 * outline, scenery.VEGETATION, CLEAR))

    def _static_haze(self) -> Pixels:
        """Weight of the haze, 0..256, of what stands still: the nearest of ground and walls at each pixel."""
        v = np.arange(self.height)[:, None] - self._horizon
        u = np.arange(self.width)[None, :] + 0.5 - self._middle
        ground = np.where(v > 0, self._focal * CAMERA_HEIGHT / np.maximum(v, 1e-3), 1e9)
        wall = self._focal * np.where(u < 0, -LEFT_WALL, RIGHT_WALL) / np.abs(u)
        depth = np.minimum(np.minimum(ground, wall), 150)
        return np.asarray(256 * (1 - np.exp(-depth / HAZE_LENGTH)), np.uint32)

    def _haze(self, canvas: Pixels) -> None:
        """Blends ground and walls towards the haze, in place; the sky has its own."""
        hazy = scenery.mix(canvas, _HAZE_PIXEL, self._haze_weight)
        np.copyto(canvas, hazy, where=(canvas >> 24) != scenery.SKY)

    def _finish(self, canvas: Pixels, time: float) -> Image:
        """Light and sensor: passing clouds, a soft lens, noise that differs in every frame."""
        shade = 0.10 + 0.04 * np.sin(0.35 * time + self._seed) + 0.01 * np.sin(1.9 * time)
        lit = scenery.mix(canvas, 0, int(256 * max(shade, 16 / 256)))  # leaves room for the grain below 256
        lit[:, 1:] = (lit[:, 1:] >> 1 & 0x7F7F7F) + (lit[:, :-1] >> 1 & 0x7F7F7F)
        y, x = np.random.default_rng([self._seed, round(time * 1000)]).integers(0, 64, 2)
        lit &= np.uint32(0xFFFFFF)
        lit += self._grain[y : y + self.height, x : x + self.width]
        return np.ascontiguousarray(lit.view(np.uint8).reshape(self.height, self.width, 4)[..., :3])


def _furnish(rng: np.random.Generator) -> list[Thing]:
    """Everything that stands or moves in the street."""
    trees = [scenery.tree(rng) for _ in range(3)]
    lamps = (scenery.lamp(rng),)
    cars = [
        (
            scenery.car_end(rng, paint, rear=True),
            scenery.car_end(rng, paint, rear=False),
            scenery.car_side(rng, paint),
        )
        for paint in _PAINTS
    ]
    things = []
    for z in np.arange(4, LENGTH, 16):
        for x in (LEFT_KERB - 1.0, RIGHT_KERB + 1.0):
            if rng.random() < 0.75:
                tall = trees[rng.integers(len(trees))]
                things.append(
                    Thing(x, float(z + rng.uniform(-3, 3)), (tall,), mirrored=bool(rng.random() < 0.5))
                )
    for z in np.arange(0, LENGTH, 32):
        things += [
            Thing(LEFT_KERB - 0.4, float(z), lamps, mirrored=True),
            Thing(RIGHT_KERB + 0.4, float(z + 16), lamps),
        ]
    for x, share in ((LEFT_KERB + 1.1, 0.6), (RIGHT_KERB - 0.95, 0.35)):
        for z in np.arange(2, LENGTH, 6.5):
            if rng.random() < share:
                rear, _, side = cars[rng.integers(len(cars))]
                things.append(Thing(x, float(z), (rear,), side))
    for z, speed in ((26, SPEED + 1.2), (60, SPEED - 0.9), (104, SPEED + 0.4)):
        rear, _, side = cars[rng.integers(len(cars))]
        things.append(Thing(0.1, z, (rear,), side, speed))
    for z in (30, 95, 150):
        _, front, side = cars[rng.integers(len(cars))]
        things.append(Thing(-3.7, z, (front,), side, -SPEED - float(rng.uniform(0, 3)), mirrored=True))
    for _ in range(14):
        clothes = int(rng.integers(1 << 31))
        steps = tuple(scenery.person(np.random.default_rng(clothes), phase / 8) for phase in range(8))
        x = float(
            rng.choice([rng.uniform(LEFT_WALL + 0.8, LEFT_KERB - 1.4), rng.uniform(RIGHT_KERB + 1.4, 7.7)])
        )
        way = float(rng.choice([-1, 1]))
        things.append(Thing(x, float(rng.uniform(0, LENGTH)), steps, None, 1.3 * way, way < 0))
    return things


def _level(sprite: Sprite, zoom: float) -> Pixels:
    """The sprite's pixels at about one texel per screen pixel for `zoom` pixels a metre."""
    ratio = sprite.pixels.shape[0] / (sprite.height * zoom)
    return sprite.levels[int(np.clip(np.log2(max(ratio, 1.0)), 0, len(sprite.levels) - 1))]


def _stamp(ground: Pixels, picture: Pixels, haze: float) -> None:
    """Puts a picture with haze over a part of the canvas, where the picture is not clear."""
    np.copyto(ground, scenery.mix(picture, _HAZE_PIXEL, int(256 * haze)), where=(picture >> 24) != CLEAR)
