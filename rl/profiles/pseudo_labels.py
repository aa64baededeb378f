"""Agreement of every variant with pseudo-labels of street clips, clip by clip, on uncompressed frames.

Agreement with the reference prediction rewards being consistently wrong; this one does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from rl.vss.datasets import LabelledImage
from rl.vss.evaluate import AnyNetwork, streets_confusion
from serving.miou import Floats

LabelCounts: TypeAlias = dict[str, NDArray[np.int64]]
"""By clip: (variants, classes, classes + 1) pixels of labels and predictions."""


def clip_of(example: LabelledImage) -> str:
    """Labelled frames are named after their clip and their milliseconds."""
    return example.name.rsplit("_", 1)[0]


def count_labels(networks: Sequence[AnyNetwork], examples: Sequence[LabelledImage]) -> LabelCounts:
    """Counts of all variants on all labelled frames."""
    clips = {name: list(own) for name, own in groupby(sorted(examples, key=clip_of), key=clip_of)}
    return {
        name: np.stack([streets_confusion(network, own) for network in networks])
        for name, own in track(clips.items(), "pseudo-labels", disable=not clips)
    }


def all_clips(labels: LabelCounts) -> NDArray[np.int64]:
    """(variants, classes, classes + 1) counts over all clips."""
    counts: NDArray[np.int64] = np.sum(list(labels.values()), axis=0)
    return counts


def label_iou(counts: NDArray[np.int64]) -> Floats:
    """(..., classes) IoU from (..., classes, classes + 1) counts; NaN for a class that no label holds."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    labelled = counts.sum(-1)
    union = labelled + counts[..., :-1].sum(-2) - hits
    return np.where(labelled > 0, hits / np.maximum(union, 1), np.nan)
