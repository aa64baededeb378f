"""How a camera saw a street: light, weather, lens, sensor, shake, and how its file was made.

The generated street (`clients.scene`) is cleaner than any footage, and a codec notices: what real video costs
is to a large part noise, softness and what an earlier compression left. All of it is drawn once a drive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

FRAME = (1280, 720)
NATIVE_SIZES = ((640, 360), (848, 480), (960, 540), (1280, 720))
"""Of published street clips; many are smaller than 720p."""
NATIVE_SHARES = (0.35, 0.1, 0.1, 0.45)
STANDING = 0.4
"""Share of cameras that do not move."""

Picture = NDArray[np.uint8]  # (height, width, 3) RGB


@dataclass(frozen=True, slots=True)
class Look:
    """One drive's camera and weather."""

    size: tuple[int, int]  # (width, height) of the file
    qp: int  # that the file was compressed with
    gain: float  # exposure: below 1 dusk, above 1 glare
    warmth: float  # red up, blue down
    fog: float  # share of the light that is scattered
    rain: float  # streaks a frame, in hundreds
    read_noise: float  # grey levels, whatever the light
    shot_noise: float  # grey levels at full light
    blur: float  # pixels
    shake: float  # pixels, standard deviation of the slow part
    passing: float  # strength of clouds and shadows that pass
    speed: float  # m/s of the camera; many stand on bridges and poles


def draw_look(rng: np.random.Generator) -> Look:
    """A look as cameras have them: mostly day, sometimes dusk, fog or rain."""
    dusk, stands = rng.random() < 0.2, rng.random() < STANDING
    return Look(
        size=NATIVE_SIZES[int(rng.choice(len(NATIVE_SIZES), p=NATIVE_SHARES))],
        qp=int(rng.integers(24, 31)),
        gain=float(rng.uniform(0.25, 0.55) if dusk else rng.uniform(0.8, 1.15)),
        warmth=float(rng.normal(0, 0.06)),
        fog=float(rng.uniform(0.2, 0.6) if rng.random() < 0.15 else rng.uniform(0, 0.08)),
        rain=float(rng.uniform(1, 6) if rng.random() < 0.15 else 0),
        read_noise=float(rng.uniform(0.5, 5) if dusk else rng.uniform(0.3, 2)),
        shot_noise=float(rng.uniform(0.5, 4)),
        blur=float(rng.uniform(0.25, 1.2)),
        shake=0.0 if stands else float(abs(rng.normal(0, 2.5))),
        passing=float(rng.uniform(0, 0.12)),
        speed=0.0 if stands else float(rng.uniform(2, 16)),
    )


class CameraModel:
    """Applies a look to successive frames; deterministic by seed and frame number."""

    def __init__(self, look: Look, seed: int) -> None:
        self.look, self._seed = look, seed

    def shift(self, number: int) -> tuple[int, int]:
        """(rows, columns) by which the camera shakes: two slow swings, so that neighbours move together."""
        phases = np.random.default_rng([self._seed, 1]).uniform(0, 2 * np.pi, 4)
        speeds = (0.31, 0.83, 0.43, 1.07)  # radians a frame
        swings = [np.sin(phase + speed * number) for phase, speed in zip(phases, speeds, strict=True)]
        return round(self.look.shake * (swings[0] + 0.4 * swings[1])), round(
            0.6 * self.look.shake * (swings[2] + 0.4 * swings[3])
        )

    def picture(self, clean: Picture, number: int) -> Picture:
        """(height, width, 3) as the sensor gives it, at the frame's size."""
        rng, look = np.random.default_rng([self._seed, 2, number]), self.look
        shaken = np.roll(clean, self.shift(number), (0, 1))
        soft = Image.fromarray(shaken).filter(ImageFilter.GaussianBlur(look.blur))
        light = np.asarray(soft, np.float32) * (look.gain * (1 + look.passing * np.sin(0.05 * number)))
        light *= np.array([1 + look.warmth, 1, 1 - look.warmth], np.float32)
        light += look.fog * (200 * look.gain - light)
        if look.rain:
            _add_rain(light, look, rng)
        deviation = look.read_noise + look.shot_noise * np.sqrt(np.clip(light[..., :1], 0, 255) / 255)
        light += deviation * rng.standard_normal((*light.shape[:2], 1), np.float32)
        return np.asarray(light.clip(0, 255), np.uint8)

    def labels(self, clean: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """Class ids of the same pixels."""
        return np.asarray(np.roll(clean, self.shift(number), (0, 1)))


def _add_rain(light: NDArray[np.float32], look: Look, rng: np.random.Generator) -> None:
    """Bright short streaks, new in every frame."""
    height, width = light.shape[:2]
    count = round(100 * look.rain)
    rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
    for row, column, length in zip(rows, columns, rng.integers(8, 40, count), strict=True):
        light[row : row + length, column] += 25 * look.gain
