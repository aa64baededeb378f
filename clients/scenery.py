"""What the demo street is made of: textures and sprites, drawn once per seed.

A *pixel* is one uint32: red, green, blue in the low three bytes and the Cityscapes class id in the highest,
so that whatever moves a picture moves its labels with it. CLEAR in the highest byte means: not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.uint32]
Floats = NDArray[np.float32]
Colour = tuple[int, int, int]

ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR = 0, 1, 2, 5, 8, 10, 11, 13
CLEAR = 255


def pack(rgb: NDArray[np.generic], label: int | NDArray[np.generic]) -> Pixels:
    """(..., 3) colours of 0..255 and class ids to pixels."""
    levels = np.clip(rgb, 0, 255).astype(np.uint32)
    pixels = levels[..., 0] | levels[..., 1] << 8 | levels[..., 2] << 16 | np.asarray(label, np.uint32) << 24
    return np.asarray(pixels, np.uint32)


def fractal_noise(rng: np.random.Generator, height: int, width: int, cells: int, octaves: int) -> Floats:
    """Noise in 0..1 that tiles in both directions: octaves of smooth random grids, each half as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        n = cells << octave
        grid = rng.random((n, max(1, n * width // height))).astype(np.float32)
        rows, columns = _smooth_steps(height, grid.shape[0]), _smooth_steps(width, grid.shape[1])
        top = _blend(grid, columns)
        total += _blend(top.T, rows).T * 0.5**octave
    total -= total.min()
    return np.asarray(total / total.max(), np.float32)


def _smooth_steps(size: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    position = np.arange(size, dtype=np.float32) * cells / size
    low = position.astype(np.intp)
    part = (position - low).astype(np.float32)
    return low, (low + 1) % cells, part * part * (3 - 2 * part)


def _blend(grid: Floats, steps: tuple[NDArray[np.intp], NDArray[np.intp], Floats]) -> Floats:
    low, high, part = steps
    return grid[:, low] * (1 - part) + grid[:, high] * part


@dataclass(frozen=True)
class Sprite:
    """A flat thing of `width` x `height` metres; `levels[k]` are its pixels at 1/2^k of full resolution."""

    pixels: Pixels
    width: float
    height: float

    @cached_property
    def levels(self) -> list[Pixels]:
        levels = [self.pixels]
        while min(levels[-1].shape) >= 8:
            levels.append(halve(levels[-1]))
        return levels


def mix(pixels: Pixels, other: int, weight: int | Pixels) -> Pixels:
    """Pixels blended towards one colour, `weight` of 256; classes stay. Two channels go in one operation."""
    keep = 256 - np.asarray(weight, np.uint32)
    share = np.asarray(weight, np.uint32)
    outer = ((pixels & 0xFF00FF) * keep + (other & 0xFF00FF) * share) >> 8 & 0xFF00FF
    inner = ((pixels & 0xFF00) * keep + (other & 0xFF00) * share) >> 8 & 0xFF00
    return np.asarray((pixels & np.uint32(0xFF000000)) | outer | inner, np.uint32)


def halve(pixels: Pixels) -> Pixels:
    """Half the resolution: colours averaged over what is there, the class of the most solid corner."""
    rows, columns = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
    corners = np.stack([pixels[i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)])
    solid = (corners >> 24) != CLEAR
    count = solid.sum(0)
    colour = np.stack(
        [((corners >> shift & 255) * solid).sum(0) / np.maximum(count, 1) for shift in (0, 8, 16)], -1
    )
    label = np.take_along_axis(corners >> 24, solid.argmax(0)[None], 0)[0]
    return pack(colour, np.where(count >= 2, label, CLEAR))


def _sprite(
    picture: Image.Image, label: int, width: float, height: float, rng: np.random.Generator
) -> Sprite:
    """A sprite of an RGBA drawing: brought to half size for smooth insides, with a little grain."""
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    array = np.asarray(small, np.float32)
    grain = rng.normal(0, 5, array.shape[:2])[..., None]
    return Sprite(pack(array[..., :3] + grain, np.where(array[..., 3] > 127, label, CLEAR)), width, height)


def tree(rng: np.random.Generator) -> Sprite:
    """A broad-leaved tree, lit from the upper right, 6 m x 8 m."""
    picture = Image.new("RGBA", (600, 800))
    draw = ImageDraw.Draw(picture)
    trunk = (92, 78, 64, 255)
    draw.polygon([(280, 800), (322, 800), (312, 400), (292, 400)], fill=trunk)
    for x, y in ((180, 330), (420, 310), (300, 240)):
        draw.line([(302, 520), (x, y)], fill=trunk, width=12)
    tint = rng.uniform(0.93, 1.07, 3)
    crowns = [(300, 270, 170), (300, 390, 150)] + [
        (rng.uniform(150, 450), rng.uniform(130, 430), rng.uniform(60, 120)) for _ in range(8)
    ]
    for share in np.linspace(0, 1, 3600):  # dark leaves at the back first, light ones in front
        x0, y0, radius = crowns[rng.integers(len(crowns))]
        angle, distance = rng.uniform(0, 2 * np.pi), radius * np.sqrt(rng.random())
        x, y = x0 + distance * np.cos(angle), y0 + 0.85 * distance * np.sin(angle)
        light = 0.35 + 0.45 * share + 0.25 * (x - 300) / 300 + 0.3 * (280 - y) / 400 + rng.normal(0, 0.1)
        r, g, b = (np.array([88, 118, 52]) * tint * max(0.2 + light, 0.4)).clip(0, 255).astype(int)
        size = rng.uniform(4, 11)
        draw.ellipse([x - size, y - size * 0.7, x + size, y + size * 0.7], fill=(int(r), int(g), int(b), 255))
    return _sprite(picture, VEGETATION, 6.0, 8.0, rng)


def lamp(rng: np.random.Generator) -> Sprite:
    """A street lamp whose arm reaches to the left, 1.6 m x 7 m."""
    picture = Image.new("RGBA", (320, 1400))
    draw = ImageDraw.Draw(picture)
    draw.rectangle([288, 30, 310, 1400], fill=(104, 108, 110, 255))
    draw.rectangle([288, 30, 294, 1400], fill=(74, 78, 80, 255))
    draw.rectangle([280, 1200, 318, 1400], fill=(84, 88, 90, 255))
    draw.line([(300, 36), (60, 16)], fill=(100, 104, 106, 255), width=16)
    draw.ellipse([10, 6, 110, 40], fill=(150, 152, 150, 255))
    return _sprite(picture, POLE, 1.6, 7.0, rng)


def person(rng: np.random.Generator, phase: float) -> Sprite:
    """Somebody walking, 0.7 m x 1.75 m; `phase` 0..1 of the step. The clothes come from `rng`."""
    picture = Image.new("RGBA", (280, 700))
    draw = ImageDraw.Draw(picture)
    coat = tuple(int(c) for c in rng.integers(30, 170, 3))
    legs = tuple(int(c) for c in rng.integers(20, 80, 3))
    skin = tuple(int(c) for c in np.array([205, 160, 130]) * rng.uniform(0.5, 1.05))
    swing = np.sin(2 * np.pi * phase)
    for side, shade in ((-1, 0.75), (1, 1.0)):
        foot = 140 + side * swing * 75
        fill = tuple(int(c * shade) for c in legs)
        draw.line(
            [(140, 380), (140 + side * swing * 30, 530), (foot, 680)],
            fill=(*fill, 255),
            width=46,
            joint="curve",
        )
        draw.ellipse([foot - 30, 664, foot + 36, 698], fill=(28, 26, 26, 255))
    draw.rounded_rectangle([88, 130, 192, 410], 40, fill=(*coat, 255))
    draw.rounded_rectangle([88, 130, 120, 410], 16, fill=(*(int(c * 0.7) for c in coat), 255))
    for side, shade in ((-1, 0.7), (1, 1.12)):
        fill = tuple(min(255, int(c * shade)) for c in coat)
        x = 140 + side * 42
        draw.line(
            [(x, 160), (x - side * swing * 28, 290), (x - side * swing * 50, 380)],
            fill=(*fill, 255),
            width=34,
        )
    draw.ellipse([104, 20, 176, 124], fill=(*skin, 255))
    draw.pieslice([98, 10, 182, 110], 170, 370, fill=(40, 32, 28, 255))
    return _sprite(picture, PERSON, 0.7, 1.75, rng)


def car_end(rng: np.random.Generator, paint: Colour, rear: bool) -> Sprite:
    """A car seen from behind or from the front, 1.8 m x 1.5 m."""
    picture = Image.new("RGBA", (720, 600))
    draw = ImageDraw.Draw(picture)
    dark, light = (*(c * 6 // 10 for c in paint), 255), (*(min(255, c * 12 // 10 + 10) for c in paint), 255)
    for x in (60, 560):
        draw.rounded_rectangle([x, 430, x + 100, 600], 20, fill=(22, 22, 24, 255))
    draw.polygon([(140, 30), (580, 30), (660, 260), (60, 260)], fill=(*paint, 255))
    draw.rounded_rectangle([24, 235, 696, 520], 60, fill=(*paint, 255))
    draw.polygon([(170, 56), (550, 56), (610, 240), (110, 240)], fill=(38, 46, 54, 255))
    draw.polygon([(330, 56), (470, 56), (420, 240), (250, 240)], fill=(74, 88, 100, 255))  # reflected sky
    draw.line([(50, 262), (670, 262)], fill=light, width=10)
    draw.rounded_rectangle([24, 440, 696, 540], 40, fill=dark)
    lamps = (178, 32, 28, 255) if rear else (238, 240, 232, 255)
    for x in (44, 566):
        draw.rounded_rectangle([x, 285, x + 110, 360], 24, fill=lamps)
    draw.rectangle([280, 390 if rear else 452, 440, 432 if rear else 492], fill=(226, 226, 214, 255))
    if not rear:
        draw.rounded_rectangle([190, 330, 530, 420], 16, fill=(30, 30, 32, 255))
    return _sprite(picture.filter(ImageFilter.SMOOTH), CAR, 1.8, 1.5, rng)


def car_side(rng: np.random.Generator, paint: Colour) -> Sprite:
    """A car's side, its near end (the one the camera meets first) on the left, 4.3 m x 1.5 m."""
    picture = Image.new("RGBA", (1720, 600))
    draw = ImageDraw.Draw(picture)
    dark, light = (*(c * 6 // 10 for c in paint), 255), (*(min(255, c * 12 // 10 + 10) for c in paint), 255)
    draw.polygon([(20, 250), (220, 30), (1000, 30), (1290, 250)], fill=(*paint, 255))
    draw.rounded_rectangle([0, 240, 1719, 520], 70, fill=(*paint, 255))
    draw.polygon([(110, 245), (250, 60), (600, 60), (600, 245)], fill=(42, 50, 58, 255))
    draw.polygon([(640, 245), (640, 60), (985, 60), (1210, 245)], fill=(52, 62, 72, 255))
    draw.line([(20, 290), (1700, 290)], fill=light, width=12)
    draw.rectangle([60, 450, 1660, 520], fill=dark)
    for x in (620, 1130):
        draw.line([(x, 250), (x, 480)], fill=dark, width=6)
    for x in (320, 1390):
        draw.ellipse([x - 140, 330, x + 140, 600], fill=(20, 20, 22, 255))
        draw.ellipse([x - 78, 390, x + 78, 542], fill=(128, 130, 134, 255))
    return _sprite(picture.filter(ImageFilter.SMOOTH), CAR, 4.3, 1.5, rng)


def facades(rng: np.random.Generator, length: float, height: float, density: int) -> tuple[Pixels, Floats]:
    """One side of the street: (height x length metres at `density` pixels a metre, row 0 at the ground), and
    the height in metres of what stands at each column. Gaps between houses hold tall hedges and trees."""
    rows, columns = int(height * density), int(length * density)
    wall = np.full((rows, columns), np.uint32(CLEAR) << 24, np.uint32)
    top = np.zeros(columns, np.float32)
    grain = fractal_noise(rng, 512, 512, 8, 6)
    start = 0.0
    while start < length:
        wide = min(float(rng.uniform(9, 20)), length - start)
        a, b = int(start * density), int((start + wide) * density)
        texture = grain[np.arange(rows)[:, None] % 512, (np.arange(a, b) * 3 // 2 + int(start * 77)) % 512]
        if rng.random() < 0.3 or wide < 6:
            edge = (3.5 + 4 * texture[0] + 1.5 * np.sin(np.arange(b - a) / density)).astype(np.float32)
            leaf = texture + rng.normal(0, 0.16, texture.shape)
            colour = np.array([70, 96, 46]) * (0.35 + 0.9 * leaf)[..., None]
            inside = np.arange(rows)[:, None] / density < edge + 0.5 * rng.random(texture.shape)
            wall[:, a:b] = np.where(inside, pack(colour, VEGETATION), wall[:, a:b])
            top[a:b] = edge
        else:
            tall = 3.2 * int(rng.integers(2, 5)) + 1.2
            face = _house(rng, min(int(tall * density), rows), b - a, density, texture)
            wall[: face.shape[0], a:b] = face
            top[a:b] = tall
        start += wide
    return wall, top


def _house(rng: np.random.Generator, rows: int, columns: int, density: int, texture: Floats) -> Pixels:
    """A house front with rows of windows and a shop or a plinth at the ground."""
    plaster = np.array(
        [(168, 156, 138), (150, 104, 84), (186, 176, 160), (128, 122, 118), (172, 140, 110), (120, 84, 70)]
    )[rng.integers(6)]
    y = np.arange(rows)[:, None] / density
    x = np.arange(columns)[None, :] / density
    colour = plaster * (0.72 + 0.45 * texture[:rows] + 0.012 * y)[..., None]
    if rng.random() < 0.5:  # bricks
        seam = ((y % 0.25 < 0.05) | ((x + 0.25 * ((y // 0.25) % 2)) % 0.5 < 0.05)).astype(np.float32)
        colour = colour * (1 - 0.16 * seam)[..., None]
    every, wide = float(rng.uniform(1.9, 3.2)), float(rng.uniform(0.9, 1.3))
    storey, across = (y - 0.9) % 3.2, x % every
    left = (every - wide) / 2
    upper = y > 3.4
    frame = upper & (storey > 0.05) & (storey < 1.95) & (across > left - 0.1) & (across < left + wide + 0.1)
    glass = upper & (storey > 0.15) & (storey < 1.85) & (across > left) & (across < left + wide)
    glass &= np.abs(across - left - wide / 2) > 0.04
    pane = rng.random((rows // density // 3 + 2, columns // density + 2))
    light = pane[(y // 3.2).astype(int), (x // every).astype(int)]
    window = np.array([58, 70, 82]) * (0.5 + 0.9 * light + 0.25 * storey)[..., None]
    colour = np.where(frame[..., None], plaster * 1.25 + 12, colour)
    colour = np.where(glass[..., None], window, colour)
    shop = (y > 0.5) & (y < 2.7) & (x % 4.0 > 0.4) & (x % 4.0 < 3.6)
    awning = (y > 2.7) & (y < 3.2)
    colour = np.where(
        shop[..., None], np.array([52, 56, 60]) * (0.6 + 0.8 * texture[:rows])[..., None], colour
    )
    colour = np.where(
        awning[..., None], rng.integers(70, 130, 3) * (0.8 + 0.3 * texture[:rows])[..., None], colour
    )
    colour[-max(2, density // 3) :] *= 0.75  # the cornice's shade
    return pack(colour + rng.normal(0, 4, (rows, columns, 1)), BUILDING)


def sky_panorama(rng: np.random.Generator, rows: int, columns: int) -> Pixels:
    """Blue to hazy gradient with clouds; tiles horizontally, so that clouds can drift."""
    depth = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None] ** 1.4
    blue, haze = np.array([104, 146, 198]), np.array([204, 212, 218])
    clouds = fractal_noise(rng, 512, 2048, 3, 6)
    up = np.linspace(0, 1, rows)
    y = (255 * up + 255 * up**3).astype(int)  # flatter towards the horizon
    x = np.arange(columns) * 2048 // columns
    cover = np.clip((clouds[y[:, None], x] - 0.46) * 3.2, 0, 1)[..., None]
    shade = 236 - 46 * np.clip(cover - 0.5, 0, 1)
    base = blue * (1 - depth) + haze * depth
    return pack(base * (1 - 0.85 * cover) + shade * 0.85 * cover, SKY)
