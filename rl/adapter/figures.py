"""Failure rates and costs of policies, with intervals that draw whole drives anew.

Segments of one drive are alike, so a rate over segments is only as sure as the number of drives allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rl.adapter.play import Pair, Results
from serving.miou import Floats

DRAWS = 2000
LEVEL = 0.95
Interval = tuple[float, float]


class Figures(BaseModel):
    """Over segments and pairs of constraints; intervals are 95 % over drives, None with fewer than two.

    Costs count dropped segments at the configuration that was chosen. `flops_over_optimal` is 0.07 where 7 %
    more is spent than Optimal spends.
    """

    model_config = ConfigDict(frozen=True)

    failure_rate: float
    failure_rate_feasible: float | None  # without segments where even Optimal fails; None if it always does
    flops_over_optimal: float
    dropped: float
    cost: float  # mean, the most expensive configuration being 1
    miou_p10: float
    miou_p25: float
    miou_median: float
    failure_rate_interval: Interval | None = None
    failure_rate_feasible_interval: Interval | None = None
    flops_over_optimal_interval: Interval | None = None


class PairFigures(Figures):
    """At one pair of constraints."""

    target: float
    bandwidth: float  # MB/s


class CurvePoint(BaseModel):
    """A method that is told the target plus a margin."""

    model_config = ConfigDict(frozen=True)

    margin: float
    failure_rate: float
    failure_rate_feasible: float | None
    flops_over_optimal: float


def figures_of(results: Results, drives: NDArray[np.str_], seed: int = 0) -> Figures:
    """Over all pairs in `results`; drives name one a segment."""
    sums = _by_drive(results, drives)
    failed, feasible, over = _rates(sums.sum(0))
    intervals: list[Interval | None] = [None] * 3
    if len(sums) > 1:
        rng = np.random.default_rng(seed)
        drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS) @ sums
        intervals = [_ends(values) for values in _rates(drawn)]
    p10, p25, median = np.percentile(results.miou, (10, 25, 50))
    return Figures(
        failure_rate=float(failed),
        failure_rate_feasible=None if np.isnan(feasible) else float(feasible),
        flops_over_optimal=float(over),
        dropped=float(results.dropped.mean()),
        cost=float(results.cost.mean()),
        miou_p10=float(p10),
        miou_p25=float(p25),
        miou_median=float(median),
        failure_rate_interval=intervals[0],
        failure_rate_feasible_interval=intervals[1],
        flops_over_optimal_interval=intervals[2],
    )


def by_pair(results: Results, drives: NDArray[np.str_], pairs: Sequence[Pair]) -> tuple[PairFigures, ...]:
    """One for each pair, in order."""
    return tuple(
        PairFigures(
            target=pair.target,
            bandwidth=pair.bandwidth,
            **figures_of(results.at([number]), drives).model_dump(),
        )
        for number, pair in enumerate(pairs)
    )


def _by_drive(results: Results, drives: NDArray[np.str_]) -> Floats:
    """(drives, 6): segments, failed, feasible ones, failed among those, cost, Optimal's cost."""
    feasible = ~results.infeasible
    columns = (
        np.ones_like(results.cost),
        results.failed,
        feasible,
        results.failed & feasible,
        results.cost,
        results.optimal_cost,
    )
    per_segment = np.stack([column.sum(0) for column in columns], 1).astype(np.float64)
    return np.stack([per_segment[drives == drive].sum(0) for drive in np.unique(drives)])


def _rates(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Failure rate, among feasible ones (NaN if there are none), cost over Optimal's; sums: (..., 6)."""
    segments, failed, feasible, failed_feasible, cost, optimal_cost = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        return failed / segments, failed_feasible / feasible, cost / optimal_cost - 1


def _ends(values: Floats) -> Interval | None:
    if np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return float(low), float(high)
