"""The baseline: the base size by AR(1), all others by a table of ratios (paper, 4.2.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clients.calibration import Baseline, Floats
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


def forecast(baseline: Baseline, data: SizedSegments, sent: NDArray[np.int64]) -> Floats:
    """(segments, settings) bytes from the true size of the segment before at the setting `sent` (segments,)
    at which it was sent, brought to the base by the table; at setting 0 that is the paper's AR(1).

    NaN for segments that follow none, whose past nobody knows.
    """
    ratios, follows = np.array(baseline.ratios), data.follows()
    bases = data.bytes[np.arange(len(data)), sent] / ratios[sent]
    base = np.full(len(data), np.nan)
    base[follows] = baseline.intercept + baseline.slope * bases[:-1][follows[1:]]
    return np.asarray(base[:, None] * ratios)
