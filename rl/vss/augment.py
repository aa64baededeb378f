"""Augmentation of training crops, with the degradations that the served models will really meet.

The networks see frames that were scaled down, compressed by x264 and taken by foreign cameras, so crops
go through exactly that: real H.264, down-and-up scaling, colour, light, blur and noise. Labels and soft
labels belong to the clean frame, which is what makes networks answer alike across scales and QPs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clients.codec import DecodeLimits, decode_segment, encode_segment
from configs.ladder import CompressionSetting
from rl.vss.datasets import LabelledImage
from rl.vss.recipe import Augmentation
from serving.vss.classes import STREET_CLASSES

TARGET_STRIDE = 4  # targets are compared at a quarter of the size that a crop is cut at

Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the frame


class Crop(NamedTuple):
    image: NDArray[np.uint8]  # (height, width, 3), degraded; targets have a quarter of the sides it is cut at
    clean: NDArray[np.uint8]  # (height, width, 3), in the same light, but as sharp as the frame was
    target: NDArray[np.uint8]  # (rows, columns)
    soft: NDArray[np.uint8]  # (classes, rows, columns): 255 x probability


def augment(
    example: LabelledImage,
    size: tuple[int, int],
    recipe: Augmentation,
    rng: Generator,
    oversampling: int = 1,
) -> Crop:
    """One random crop of (height, width) `size`, cut and degraded at `oversampling` times that size."""
    size = (size[0] * oversampling, size[1] * oversampling)
    box = _random_box(example.image.shape[:2], size, recipe, rng)
    image, target, soft = _cut(example, size, box)
    clean = _recolour(image, recipe, rng)
    picture = Image.fromarray(clean)
    if rng.random() < recipe.rescale_share:
        factor = rng.uniform(0.45, 0.9)
        small = picture.resize((round(size[1] * factor), round(size[0] * factor)), Image.Resampling.BICUBIC)
        picture = small.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    if rng.random() < recipe.blur_share:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.5)))
    pixels = np.asarray(picture)
    if rng.random() < recipe.noise_share:
        noise = rng.normal(0, rng.uniform(2, 10), pixels.shape).astype(np.int16)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    if rng.random() < recipe.h264_share:
        pixels = _compress(pixels, int(rng.integers(recipe.h264_qp[0], recipe.h264_qp[1] + 1)))
    if rng.random() < 0.5:
        pixels, clean, target, soft = pixels[:, ::-1], clean[:, ::-1], target[:, ::-1], soft[..., ::-1]
    pixels, clean = (np.asarray(Image.fromarray(part).reduce(oversampling)) for part in (pixels, clean))
    return Crop(*(np.ascontiguousarray(part) for part in (pixels, clean, target, soft)))


def _random_box(frame: tuple[int, int], size: tuple[int, int], recipe: Augmentation, rng: Generator) -> Box:
    height, width = frame
    stretch = 1 + rng.uniform(-recipe.aspect, recipe.aspect)
    fits = min(height / (size[0] * stretch), width / size[1])
    zoom = 1.0 if rng.random() < recipe.whole_share else math.exp(rng.uniform(0, math.log(recipe.zoom)))
    box_height, box_width = size[0] * stretch * fits / zoom / height, size[1] * fits / zoom / width
    top, left = rng.uniform(0, max(0.0, 1 - box_height)), rng.uniform(0, max(0.0, 1 - box_width))
    return left, top, min(left + box_width, 1.0), min(top + box_height, 1.0)


def _cut(
    example: LabelledImage, size: tuple[int, int], box: Box
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Image, target and soft label within the box."""
    small = (size[0] // TARGET_STRIDE, size[1] // TARGET_STRIDE)
    image = _resampled(example.image, size, box, Image.Resampling.BILINEAR)
    target = _resampled(example.target, small, box, Image.Resampling.NEAREST)
    if example.soft is None:
        return image, target, np.zeros((len(STREET_CLASSES), *small), np.uint8)
    soft = [_resampled(plane, small, box, Image.Resampling.BILINEAR) for plane in example.soft]
    return image, target, np.stack(soft)


def _resampled(
    plane: NDArray[np.uint8], size: tuple[int, int], box: Box, method: Image.Resampling
) -> NDArray[np.uint8]:
    rows, columns = plane.shape[:2]
    inside = (box[0] * columns, box[1] * rows, box[2] * columns, box[3] * rows)
    return np.asarray(Image.fromarray(plane).resize((size[1], size[0]), method, box=inside))


def _recolour(image: NDArray[np.uint8], recipe: Augmentation, rng: Generator) -> NDArray[np.uint8]:
    """Light, contrast, gamma and white balance as one look-up table a channel, then saturation."""
    strength, levels = recipe.colour, np.linspace(0, 1, 256)
    gamma = math.exp(rng.uniform(-1, 1) * strength)
    contrast, gain = 1 + rng.uniform(-1, 1) * strength, 1 + rng.uniform(-1, 1) * strength
    if rng.random() < recipe.exposure_share:  # clipped skies, or the depth of dusk
        gain *= rng.uniform(1.2, 2.2) if rng.random() < 0.6 else rng.uniform(0.25, 0.7)
    balance = 1 + rng.uniform(-1, 1, size=3) * strength * 0.3
    table = np.stack([((levels**gamma - 0.5) * contrast + 0.5) * gain * b for b in balance], axis=1)
    table = np.clip(table * 255, 0, 255).astype(np.uint8)
    recoloured = np.stack([table[:, c][image[..., c]] for c in range(3)], axis=-1)
    if rng.random() < 0.5:
        picture = Image.fromarray(recoloured)
        mix = rng.uniform(0, 1 + strength)
        recoloured = np.asarray(Image.blend(picture.convert("L").convert("RGB"), picture, mix))
    return recoloured


def _compress(image: NDArray[np.uint8], qp: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    data = encode_segment([image], CompressionSetting(1.0, qp), fps=15)
    return decode_segment(data, DecodeLimits(width=width, height=height, frames=1))[0]
