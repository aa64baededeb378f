"""The baseline: the base size by AR(1), all others by a table of ratios (paper, 4.2.3)."""

from __future__ import annotations

import numpy as np

from clients.bitrate import Baseline, Floats
from rl.bitrate.data import SizedSegments


def fit_baseline(data: SizedSegments) -> Baseline:
    """Least squares over all pairs of successive segments; ratios are means over segments.

    Raises `ValueError` where no segment follows another.
    """
    sizes, follows = data.bytes, data.follows()
    if not follows.any():
        raise ValueError("AR(1) needs segments that follow one another: record whole clips")
    before, after = sizes[:-1, 0][follows[1:]], sizes[1:, 0][follows[1:]]
    spread = before - before.mean()
    variance = float((spread**2).sum())
    slope = float((spread * (after - after.mean())).sum() / variance) if variance > 0 else 0.0
    ratios = (sizes / sizes[:, :1]).mean(0)
    return Baseline(
        intercept=float(after.mean() - slope * before.mean()), slope=slope, ratios=tuple(ratios.tolist())
    )


def forecast(baseline: Baseline, data: SizedSegments) -> Floats:
    """(segments, settings) bytes; NaN for segments that follow none, whose past nobody knows."""
    base = np.full(len(data), np.nan)
    follows = data.follows()
    base[follows] = baseline.intercept + baseline.slope * data.bytes[:-1, 0][follows[1:]]
    return np.asarray(base[:, None] * np.array(baseline.ratios))
