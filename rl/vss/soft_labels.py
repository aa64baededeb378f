"""The teacher's soft labels: made once from clean frames at two sizes and a mirror image, kept on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from rl.vss.datasets import CAMVID_VOID, LabelledImage, target_sets
from serving.vss.classes import STREET_CLASSES
from serving.vss.pspnet import PSPNet

VIEWS = ((0.8, False), (1.2, True))
"""(relative size, mirrored) of each look that the teacher takes at a frame."""

VIEW_PIXELS = 320_000  # at relative size 1, of a network without a working size
SIDE = 32  # the deepest stride

COLUMNS = 240  # of a soft label: half of a CamVid image's


def with_soft_labels(
    examples: Iterable[LabelledImage], teacher: PSPNet, directory: Path, title: str
) -> list[LabelledImage]:
    """The examples, each with its soft label; those that lie in `directory` are not made again."""
    directory.mkdir(parents=True, exist_ok=True)
    teacher.eval()
    finished = []
    for example in track(list(examples), title):
        file = directory / f"{example.name}.npy"
        if not file.exists():
            with file.with_suffix(".partial").open("wb") as partial:
                np.save(partial, soft_label(teacher, example))
            file.with_suffix(".partial").replace(file)
        finished.append(replace(example, soft=np.load(file, mmap_mode="r")))
    return finished


@torch.no_grad()
def soft_label(teacher: PSPNet, example: LabelledImage) -> NDArray[np.uint8]:
    """(classes, rows, columns) 255 x probability, mean over the views, never against a true label."""
    height, width = example.image.shape[:2]
    shape = (round(COLUMNS * height / width), COLUMNS)
    device = next(teacher.parameters()).device
    total = torch.zeros(len(STREET_CLASSES), *shape, device=device)
    for factor, mirrored in VIEWS:
        side = ((teacher.architecture.pixels or VIEW_PIXELS) / (height * width)) ** 0.5 * factor
        size = [max(SIDE, round(x * side / SIDE) * SIDE) for x in (width, height)]
        view = np.asarray(Image.fromarray(example.image).resize(size, Image.Resampling.BICUBIC))
        pixels = torch.from_numpy(view.copy()).to(device).permute(2, 0, 1)[None].float().div_(255)
        logits = teacher(pixels.flip(-1)).flip(-1) if mirrored else teacher(pixels)
        total += F.interpolate(logits, size=shape, mode="bilinear", align_corners=False)[0].softmax(0)
    agreed = _agreeing(total.cpu() / len(VIEWS), example.target)
    labels: NDArray[np.uint8] = (agreed * 255).round().byte().numpy()
    return labels


def _agreeing(probabilities: Tensor, target: NDArray[np.uint8]) -> Tensor:
    """Where the true CamVid class is known, only street classes that merge into it keep probability."""
    sets = target_sets()
    size = (probabilities.shape[2], probabilities.shape[1])
    nearest = np.asarray(Image.fromarray(target).resize(size, Image.Resampling.NEAREST)).astype(np.int64)
    merged = torch.from_numpy(nearest) - len(STREET_CLASSES)
    known = (merged >= 0) & (merged < CAMVID_VOID)
    allowed = sets[len(STREET_CLASSES) :][merged.clamp(0, CAMVID_VOID - 1)].permute(2, 0, 1)
    kept = probabilities * torch.where(known, allowed, 1.0)
    return kept / kept.sum(0).clamp_min(1e-3)  # what was thought all but impossible stays weak
