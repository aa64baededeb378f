"""What a softmax says of its own accuracy, were its probabilities true.

If a pixel belongs to its likeliest class with the probability that it is given, then a class's intersection
with the truth, its union with it, and so its IoU, are sums over probabilities. Networks are too sure of
themselves, and another network is the judge here, so these are no accuracies yet. But they are what accuracy
depends on, alike on every street, where convolutions have to find it out from a few drives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from serving.miou import LEAST_SHARE

UNSURE = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)
"""Highest probabilities below which the share of pixels is counted."""
TINY = 1e-9
HIGHEST = 2
"""Where the mean of the highest probability stands: what is commonly called confidence."""


def expectation_count(classes: int) -> int:
    """How many numbers `expectations` gives."""
    return 6 + len(UNSURE) + 3 * classes


def expectations(softmax: Tensor) -> Tensor:
    """(N, classes, h, w) to (N, `expectation_count`).

    Those of the frame first: expected mIoU over the classes that hold a share of the pixels, and over those
    that hold one in expectation; means of the highest probability, of its logarithm and of the entropy; the
    share of neighbours that differ; shares of unsure pixels. Then by class: share of pixels, square root of
    the expected share, expected IoU where the class counts.
    """
    highest, labels = softmax.max(1)
    won = torch.zeros_like(softmax).scatter_(1, labels[:, None], 1.0)
    area, expected, shared = (part.mean((2, 3)) for part in (won, softmax, softmax * won))
    iou = shared / (area + expected - shared).clamp(min=TINY)
    counted = (area >= LEAST_SHARE).to(iou.dtype)
    frame = [
        _mean_over(iou, counted),
        _mean_over(iou, (expected >= LEAST_SHARE).to(iou.dtype)),
        highest.mean((1, 2)),
        highest.clamp(min=TINY).log().mean((1, 2)),
        -(softmax * softmax.clamp(min=TINY).log()).sum(1).mean((1, 2)),
        _edges(labels),
        *((highest < bound).to(iou.dtype).mean((1, 2)) for bound in UNSURE),
    ]
    return torch.cat([torch.stack(frame, 1), area, expected.sqrt(), iou * counted], 1)


def _mean_over(iou: Tensor, counted: Tensor) -> Tensor:
    return (iou * counted).sum(1) / counted.sum(1).clamp(min=1)


def _edges(labels: Tensor) -> Tensor:
    """(N,) rows and columns crossed by the average column and row between pixels of different classes: about
    the same at any size."""
    down = (labels[:, 1:] != labels[:, :-1]).float().sum(1).mean(1)
    right = (labels[:, :, 1:] != labels[:, :, :-1]).float().sum(2).mean(1)
    return down + right
