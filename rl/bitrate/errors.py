"""Relative errors of estimates, and how sure they are: Table 1's statistics, with intervals over drives.

Segments of one drive are alike, so a mean over segments is as sure as the number of drives allows: intervals
draw whole drives anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from clients.calibration import Floats

DRAWS = 2000
LEVEL = 0.95


class Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class ErrorFigures(Row):
    """Statistics of |estimated - true| / true over segments and settings."""

    mean: float
    p25: float
    median: float
    p75: float
    mean_interval: tuple[float, float] | None = None  # 95 %, over drives; None with fewer than two
    median_interval: tuple[float, float] | None = None
    segments: int


def relative_errors(estimated: Floats, true: Floats) -> Floats:
    """(segments, settings)."""
    return np.abs(estimated - true) / true


def error_figures(errors: Floats, drives: Sequence[str], seed: int = 0) -> ErrorFigures:
    """errors: (segments, settings); drives name one a segment. Raises `ValueError` without segments."""
    if not len(errors):
        raise ValueError("no segment to measure errors on")
    p25, median, p75 = np.percentile(errors, (25, 50, 75))
    means, medians = _over_drives(errors, drives, seed)
    return ErrorFigures(
        mean=float(errors.mean()),
        p25=float(p25),
        median=float(median),
        p75=float(p75),
        mean_interval=means,
        median_interval=medians,
        segments=len(errors),
    )


def _over_drives(
    errors: Floats, drives: Sequence[str], seed: int
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Bootstrap intervals of mean and median."""
    names = np.array(drives)
    groups = [errors[names == name].ravel() for name in np.unique(names)]
    if len(groups) < 2:
        return None, None
    rng = np.random.default_rng(seed)
    means, medians = np.empty(DRAWS), np.empty(DRAWS)
    for draw in range(DRAWS):
        sample = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        means[draw], medians[draw] = sample.mean(), np.median(sample)
    return _ends(means), _ends(medians)


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.percentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)
