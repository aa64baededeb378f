"""Augmentation of training crops, with the degradations that the served models will really meet.

The networks see frames that were scaled down, compressed by x264 and taken by foreign cameras, so crops
go through exactly that: real H.264, down-and-up scaling, colour, blur and noise.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from clients.codec import DecodeLimits, decode_segment, encode_segment
from configs.ladder import CompressionSetting
from rl.vss.datasets import LabelledImage
from rl.vss.recipe import Augmentation

TARGET_STRIDE = 4  # targets are compared at a quarter of the crop's size

Crop = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def augment(example: LabelledImage, size: tuple[int, int], recipe: Augmentation, rng: Generator) -> Crop:
    """One random crop: (height, width, 3) image and (height / 4, width / 4) target."""
    image, target = _crop(example, size, recipe, rng)
    picture = Image.fromarray(_recolour(np.asarray(image), recipe.colour, rng))
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
        pixels, target = pixels[:, ::-1], target[:, ::-1]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(target)


def _crop(
    example: LabelledImage, size: tuple[int, int], recipe: Augmentation, rng: Generator
) -> tuple[Image.Image, NDArray[np.uint8]]:
    height, width = example.image.shape[:2]
    stretch = 1 + rng.uniform(-recipe.aspect, recipe.aspect)
    fits = min(height / (size[0] * stretch), width / size[1])
    zoom = math.exp(rng.uniform(0, math.log(recipe.zoom)))
    box_height, box_width = size[0] * stretch * fits / zoom, size[1] * fits / zoom
    top, left = rng.uniform(0, height - box_height), rng.uniform(0, width - box_width)
    box = (left, top, min(left + box_width, width), min(top + box_height, height))
    image = Image.fromarray(example.image).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    rows, columns = example.target.shape
    across, down = columns / width, rows / height
    target_box = (box[0] * across, box[1] * down, min(box[2] * across, columns), min(box[3] * down, rows))
    target = Image.fromarray(example.target).resize(
        (size[1] // TARGET_STRIDE, size[0] // TARGET_STRIDE), Image.Resampling.NEAREST, box=target_box
    )
    return image, np.asarray(target)


def _recolour(image: NDArray[np.uint8], strength: float, rng: Generator) -> NDArray[np.uint8]:
    """Light, contrast, gamma and white balance as one look-up table a channel, then saturation."""
    levels = np.linspace(0, 1, 256)
    gamma = math.exp(rng.uniform(-1, 1) * strength)
    contrast, gain = 1 + rng.uniform(-1, 1) * strength, 1 + rng.uniform(-1, 1) * strength
    balance = 1 + rng.uniform(-1, 1, size=3) * strength * 0.3
    table = np.stack([((levels**gamma - 0.5) * contrast + 0.5) * gain * b for b in balance], axis=1)
    table = np.clip(table * 255, 0, 255).astype(np.uint8)
    recoloured = np.stack([table[:, c][image[..., c]] for c in range(3)], axis=-1)
    if rng.random() < 0.5:
        grey = recoloured.mean(axis=-1, keepdims=True)
        mix = np.float32(rng.uniform(0, 1 + strength))
        recoloured = np.clip(grey + (recoloured - grey) * mix, 0, 255).astype(np.uint8)
    return recoloured


def _compress(image: NDArray[np.uint8], qp: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    data = encode_segment([image], CompressionSetting(1.0, qp), fps=15)
    return decode_segment(data, DecodeLimits(width=width, height=height, frames=1))[0]
