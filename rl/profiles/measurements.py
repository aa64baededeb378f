"""The paper's measurements (section 2.2, 3.2.1, 3.3) from a recorded profile: the numbers of its figures.

Every figure is a table of equally long columns, which is what lies beside the picture as CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from configs.ladder import Ladder
from rl.profiles.logits import restored
from rl.profiles.outcomes import SegmentOutcomes
from rl.profiles.sizes import MOTION_BINS, SegmentSizes
from serving.miou import Floats, frame_miou, segment_miou

PERIODS = (5.0, 20.0)
"""Seconds for which one profiled frame must hold; the paper's clips allow 20, short ones do not."""

Columns = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Recorded:
    """What the figures are drawn from, by clip and time."""

    ladder: Ladder
    costs: Floats  # (configurations,)
    seconds: float  # of a segment
    outcomes: tuple[SegmentOutcomes, ...]

    def runs(self) -> list[list[SegmentOutcomes]]:
        """The segments of each clip."""
        return [list(own) for _, own in groupby(self.outcomes, lambda segment: segment.clip)]

    def longest(self) -> list[SegmentOutcomes]:
        """The clip that Fig. 1 and 2 show."""
        return max(self.runs(), key=len)

    @property
    def miou(self) -> Floats:
        """(segments, configurations)."""
        return np.stack([segment.miou() for segment in self.outcomes])

    @property
    def bytes(self) -> Floats:
        """(segments, settings)."""
        return np.stack([segment.bytes for segment in self.outcomes]).astype(np.float64)


def accuracy_over_time(recorded: Recorded) -> Columns:
    """Fig. 1: mIoU of every variant at the best compression setting, along one clip."""
    own = recorded.longest()
    rungs = [recorded.ladder.index(1.0, recorded.ladder.qps[0], v) for v in _variants(recorded.ladder)]
    miou = np.stack([segment.miou()[rungs] for segment in own])
    time = recorded.seconds * np.array([segment.index for segment in own])
    return {"second": time} | {f"variant {v}": miou[:, v] for v in _variants(recorded.ladder)}


def bitrate_over_time(recorded: Recorded) -> Columns:
    """Fig. 2: kilobytes a second of every compression setting, along one clip."""
    own = recorded.longest()
    rates = np.stack([segment.bytes for segment in own]) / 1e3 / recorded.seconds
    time = recorded.seconds * np.array([segment.index for segment in own])
    names = [f"{setting.scale:g}x QP {setting.qp}" for setting in recorded.ladder.settings]
    return {"second": time} | {name: rates[:, index] for index, name in enumerate(names)}


def stale_profile_error(recorded: Recorded, period: float) -> Columns:
    """Fig. 3: how far the accuracies of one profiled frame are from those of the segments up to `period`
    seconds later: for each, the mean over configurations, sorted, with the share of segments below."""
    length = max(1, round(period / recorded.seconds))
    errors = []
    for run in recorded.runs():
        for start in range(0, len(run), length):
            profiled = frame_miou(run[start].overlap)[:, 0]
            errors += [
                float(np.abs(segment.miou() - profiled).mean()) for segment in run[start + 1 : start + length]
            ]
    return _cumulative("mean absolute error", np.array(errors))


def bitrate_efficiency(recorded: Recorded) -> Columns:
    """Fig. 4: share of bytes saved for each point of mIoU lost, one step down in QP and one in resolution,
    from every segment's best setting with variant 0. Steps that lose nothing have no ratio (NaN)."""
    ladder = recorded.ladder
    best = ladder.index(1.0, ladder.qps[0], 0)
    steps = {
        "QP": (1.0, ladder.qps[min(1, len(ladder.qps) - 1)]),
        "resolution": (ladder.scales[min(1, len(ladder.scales) - 1)], ladder.qps[0]),
    }
    settings = [(setting.scale, setting.qp) for setting in ladder.settings]
    columns: dict[str, NDArray[np.float64]] = {}
    for name, step in steps.items():
        saved = 1 - recorded.bytes[:, settings.index(step)] / recorded.bytes[:, 0]
        lost = recorded.miou[:, best] - recorded.miou[:, ladder.index(*step, 0)]
        columns[name] = (saved / np.where(lost > 0, lost, np.nan)).astype(np.float64)
    return columns


def cost_by_resolution(recorded: Recorded) -> Columns:
    """Fig. 5: cost of every variant by scale, the most expensive configuration being 1."""
    ladder = recorded.ladder
    columns = {"scale": np.array(ladder.scales)}
    for variant in _variants(ladder):
        rungs = [ladder.index(scale, ladder.qps[0], variant) for scale in ladder.scales]
        columns[f"variant {variant}"] = recorded.costs[rungs]
    return columns


def frame_types(sizes: Sequence[SegmentSizes]) -> Columns:
    """Fig. 8: share of I, P and B frames by position, in the order in which frames are shown; only segments
    with as many frames as most have."""
    lengths = [len(segment.frame_types) for segment in sizes]
    usual = max(set(lengths), key=lengths.count)
    types = np.array([list(s.frame_types) for s in sizes if len(s.frame_types) == usual])
    return {"position": np.arange(1, usual + 1)} | {kind: (types == kind).mean(0) for kind in "IPB"}


def motion_range(sizes: Sequence[SegmentSizes]) -> Columns:
    """Fig. 9: share of predicted pixels whose block moved at most this far."""
    moved = np.sum([segment.motion for segment in sizes], axis=0).astype(np.float64)
    share = moved.cumsum(1) / np.maximum(moved.sum(1, keepdims=True), 1)
    return {"pixels": np.arange(MOTION_BINS), "x": share[0], "y": share[1]}


def confidence_and_accuracy(ladder: Ladder, outcomes: Iterable[SegmentOutcomes]) -> Columns:
    """Fig. 11: mean highest softmax of a segment's last frame against that frame's mIoU, of every
    configuration but the reference; outcomes must hold logits."""
    rows = []
    for segment in outcomes:
        accuracy = frame_miou(segment.overlap)[:, -1]
        for index in range(1, len(ladder)):
            logits = restored(segment.logits[index])
            confidence = 1 / np.exp(logits).sum(0)  # the highest logit is 0
            rows.append((ladder[index].variant, float(confidence.mean()), float(accuracy[index])))
    variant, confidence, accuracy = np.array(rows).T
    return {"variant": variant.astype(int), "confidence": confidence, "mIoU": accuracy}


def truth_and_agreement(recorded: Recorded) -> Columns:
    """For each configuration, its mean mIoU against true labels and against the reference predictions, over
    the segments that have labels; empty where none has."""
    labelled = [segment for segment in recorded.outcomes if segment.truth is not None]
    if not labelled:
        return {}
    truth = np.mean([segment_miou(segment.truth) for segment in labelled if segment.truth is not None], 0)
    agreement = np.mean([segment.miou() for segment in labelled], 0)
    return {
        "variant": np.array([rung.variant for rung in recorded.ladder.configurations]),
        "mIoU against the reference": agreement,
        "mIoU against true labels": truth,
    }


def correlation(columns: Columns) -> float:
    """Pearson's, of the last two columns."""
    one, other = list(columns.values())[-2:]
    pair = np.corrcoef(one.astype(float), other.astype(float))
    return float(pair[0, 1])


def _cumulative(name: str, values: Floats) -> Columns:
    ordered = np.sort(values)
    return {name: ordered, "share": np.arange(1, len(ordered) + 1) / max(1, len(ordered))}


def _variants(ladder: Ladder) -> range:
    return range(len(ladder.variants))
