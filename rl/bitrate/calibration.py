"""What drives that an estimator was not trained on say of its errors: how they vary together, how long they
last, and how wide an interval must be to be kept.

Intervals are split conformal: the quantile of the errors, each divided by the deviation that the filter gave
it, with the usual correction for finitely many. That promises the coverage for segments like those of the
calibration; drives differ, so the coverage on drives of their own is measured and reported.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from clients.calibration import Baseline, Calibration, ErrorFilter, Floats, Memory
from rl.bitrate.data import Seen, SizedSegments
from rl.profiles.store import SizesOrigin

COVERAGE = 0.9
NUGGET = 1e-4
"""Added to every variance: what no other setting tells."""
MEMORIES = [
    Memory(lasting=lasting, fading=fading, by_change=by_change)
    for lasting, fading, by_change in product((0.2, 0.4, 0.6, 0.8), (0.01, 0.05, 0.2), (0.0, 0.5, 1.0, 2.0))
]
"""A few drives cannot tell finer ones apart."""


def calibrate(
    data: SizedSegments, seen: Seen, origin: SizesOrigin, baseline: Baseline, flops: int
) -> Calibration:
    """From true bytes and what was seen in the pictures. Raises `ValueError` for fewer than two segments."""
    errors = np.log(data.bytes / seen.bytes)
    settings = errors.shape[1]
    if len(errors) < 2:
        raise ValueError(f"a calibration needs at least 2 segments, got {len(errors)}")
    covariance = errors.T @ errors / len(errors) + NUGGET * np.eye(settings)
    sent = np.random.default_rng(1).integers(settings, size=len(data))
    calibration = Calibration(
        timing=data.timing,
        codec=origin.codec,
        space=origin.space,
        memory=fit_memory(errors, data.follows(), seen.change, covariance, sent),
        covariance=tuple(map(tuple, covariance.tolist())),
        coverage=COVERAGE,
        below=(1.0,) * settings,
        above=(1.0,) * settings,
        flops=flops,
        baseline=baseline,
    )
    corrected, deviation = filtered(data, seen, calibration, sent)
    standard = np.log(data.bytes / corrected) / deviation
    tail = (1 - COVERAGE) / 2
    return calibration.model_copy(
        update={"below": _conformal(-standard, tail), "above": _conformal(standard, tail)}
    )


def fit_memory(
    errors: Floats, follows: NDArray[np.bool_], change: Floats, covariance: Floats, sent: NDArray[np.int64]
) -> Memory:
    """Of `MEMORIES` the one with which the relative error of the corrected sizes is least on average, over
    the segments that follow one; the first where none does."""

    def loss(memory: Memory) -> float:
        expected, _ = expected_errors(errors, follows, change, ErrorFilter(memory, covariance), sent)
        return float(np.abs(np.expm1(expected - errors)[follows]).mean())

    return min(MEMORIES, key=loss) if follows.any() else MEMORIES[0]


def expected_errors(
    errors: Floats, follows: NDArray[np.bool_], change: Floats, state: ErrorFilter, sent: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """What a camera expects of each segment's errors (segments, settings) before it is sent, and the
    deviations. Each clip starts without any knowledge; of each segment the error at `sent` comes to be known.
    """
    mean, deviation = np.empty_like(errors), np.empty_like(errors)
    for index, setting in enumerate(sent):
        if follows[index]:
            state.advance(float(change[index]))
        else:
            state.restart()
        mean[index], deviation[index] = state.mean, state.deviation
        state.observe(int(setting), float(errors[index, setting]))
    return mean, deviation


def filtered(
    data: SizedSegments, seen: Seen, calibration: Calibration, sent: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """(segments, settings) bytes as a camera would have estimated them that sent each segment at the setting
    `sent` (segments,), and the deviations of their logarithms."""
    errors = np.log(data.bytes / seen.bytes)
    mean, deviation = expected_errors(errors, data.follows(), seen.change, ErrorFilter.of(calibration), sent)
    return seen.bytes * np.exp(mean), deviation


def _conformal(scores: Floats, tail: float) -> tuple[float, ...]:
    """(settings,) the least bound that a new score exceeds with probability `tail`; of too few scores, the
    largest."""
    count = len(scores)
    rank = min(count, int(np.ceil((count + 1) * (1 - tail))))
    return tuple(np.sort(scores, axis=0)[rank - 1].tolist())
