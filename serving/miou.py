"""The mIoU of a segment, as every accuracy here is measured.

Per frame, the mean IoU over the classes that hold at least a share of the reference's pixels, then the mean
over the segment's frames ("average mIoU across frames", paper, 3.4.1). Without the share, a handful of
stray pixels of one class could decide whether a promise was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 0.001
"""Share of the reference's pixels from which on a class counts in a frame."""

LabelMap = NDArray[np.uint8]  # (height, width)
Counts = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels by class, enough for every IoU and every threshold; leading dimensions are free.

    Arrays broadcast: many predictions may share one reference.
    """

    reference: Counts  # (..., classes) pixels that the reference gives a class
    predicted: Counts  # (..., classes) pixels that the prediction gives it
    shared: Counts  # (..., classes) pixels of both


def overlap(reference: LabelMap, prediction: LabelMap, classes: int) -> Overlap:
    """Counts of one frame. Raises `ValueError` for maps of different sizes or ids that are no class."""
    if reference.shape != prediction.shape:
        raise ValueError(f"the maps' sizes differ: {reference.shape} and {prediction.shape}")
    pairs = reference.astype(np.uint16) * np.uint16(classes + 1) + np.minimum(prediction, classes)
    confusion = np.bincount(pairs.ravel(), minlength=(classes + 1) ** 2)
    if len(confusion) > (classes + 1) ** 2 or confusion.reshape(classes + 1, -1)[classes].any():
        raise ValueError(f"the reference holds ids that are none of {classes} classes")
    table = confusion.reshape(classes + 1, classes + 1)[:classes].astype(np.int32)
    return Overlap(table.sum(1), table[:, :classes].sum(0), table.diagonal().copy())


def labelled_overlap(truth: LabelMap, prediction: LabelMap, classes: int) -> Overlap:
    """Counts of one frame against labels, of which ids that are no class are left out."""
    if truth.shape != prediction.shape:
        raise ValueError(f"the maps' sizes differ: {truth.shape} and {prediction.shape}")
    known = truth < classes
    return overlap(truth[known], prediction[known], classes)


def class_iou(counts: Overlap) -> Floats:
    """(..., classes) intersection over union; NaN for a class that is in neither map."""
    union = counts.reference + counts.predicted - counts.shared
    with np.errstate(invalid="ignore"):
        return np.where(union > 0, counts.shared / np.maximum(union, 1), np.nan)


def counted_classes(reference: Counts, least_share: float = LEAST_SHARE) -> NDArray[np.bool_]:
    """(..., classes): which classes are present with at least this share of the frame's pixels.

    Raises `ValueError` for a share that could leave a frame without any class.
    """
    classes = reference.shape[-1]
    if not 0 <= least_share <= 1 / classes:
        raise ValueError(f"expected a share of 0 to 1/{classes}, got {least_share}")
    total = reference.sum(-1, keepdims=True)
    counted: NDArray[np.bool_] = (reference >= least_share * total) & (reference > 0)
    return counted


def frame_miou(counts: Overlap, least_share: float = LEAST_SHARE) -> Floats:
    """(...) mean IoU of each frame over the classes that count in it."""
    counted = counted_classes(counts.reference, least_share)
    total = np.where(counted, class_iou(counts), 0.0).sum(-1)
    return np.asarray(total / counted.sum(-1), np.float64)


def segment_miou(counts: Overlap, least_share: float = LEAST_SHARE) -> Floats:
    """(...) mIoU of segments from counts (..., frames, classes)."""
    return np.asarray(frame_miou(counts, least_share).mean(-1), np.float64)
