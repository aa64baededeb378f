"""What drives that an estimator was not trained on say of its errors: how they go on from segment to segment,
and how wide an interval must be to be kept.

Intervals are split conformal: the quantile of the errors, each divided by the deviation that the filter gave
it, with the usual correction for finitely many. That promises the coverage for segments like those of the
calibration; drives differ, so the coverage on drives of their own is measured and reported.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clients.bitrate import Baseline, Calibration, ErrorFilter, Floats
from rl.bitrate.data import SizedSegments
from rl.profiles.store import SizesOrigin

COVERAGE = 0.9
NUGGET = 1e-4
"""Added to every variance: what no other setting tells."""
MOST_MEMORY = 0.99


def calibrate(
    data: SizedSegments, seen: Floats, origin: SizesOrigin, baseline: Baseline, flops: int
) -> Calibration:
    """From true bytes and those estimated from pictures alone, `seen` (segments, settings).

    Raises `ValueError` for fewer than two segments.
    """
    errors = np.log(data.bytes / seen)
    settings = errors.shape[1]
    if len(errors) < 2:
        raise ValueError(f"a calibration needs at least 2 segments, got {len(errors)}")
    covariance = errors.T @ errors / len(errors) + NUGGET * np.eye(settings)
    calibration = Calibration(
        timing=data.timing,
        codec=origin.codec,
        space=origin.space,
        memory=_memory(errors, data.follows()),
        covariance=tuple(map(tuple, covariance.tolist())),
        coverage=COVERAGE,
        below=(1.0,) * settings,
        above=(1.0,) * settings,
        flops=flops,
        baseline=baseline,
    )
    corrected, deviation = filtered(data, seen, calibration)
    standard = np.log(data.bytes / corrected) / deviation
    tail = (1 - COVERAGE) / 2
    return calibration.model_copy(
        update={"below": _conformal(-standard, tail), "above": _conformal(standard, tail)}
    )


def filtered(
    data: SizedSegments, seen: Floats, calibration: Calibration, seed: int = 0
) -> tuple[Floats, Floats]:
    """(segments, settings) bytes as a camera would have estimated them, and the deviations of the logarithms.

    Each clip starts without any knowledge; after each segment one size is known, that of a setting drawn
    uniformly.
    """
    rng = np.random.default_rng(seed)
    corrected, deviation = np.empty_like(seen), np.empty_like(seen)
    state = ErrorFilter(calibration)
    for index, follows in enumerate(data.follows()):
        if not follows:
            state = ErrorFilter(calibration)
        state.advance()
        corrected[index] = seen[index] * np.exp(state.mean)
        deviation[index] = state.deviation
        sent = int(rng.integers(seen.shape[1]))
        state.observe(sent, float(np.log(data.bytes[index, sent] / seen[index, sent])))
    return corrected, deviation


def _memory(errors: Floats, follows: NDArray[np.bool_]) -> float:
    """Correlation of successive errors around 0, over all settings."""
    before, after = errors[:-1][follows[1:]], errors[1:][follows[1:]]
    power = float((before**2).sum())
    return float(np.clip((before * after).sum() / power, 0, MOST_MEMORY)) if power > 0 else 0.0


def _conformal(scores: Floats, tail: float) -> tuple[float, ...]:
    """(settings,) the least bound that a new score exceeds with probability `tail`; of too few scores, the
    largest."""
    count = len(scores)
    rank = min(count, int(np.ceil((count + 1) * (1 - tail))))
    return tuple(np.sort(scores, axis=0)[rank - 1].tolist())
