"""What simulated cameras saw, by tenant: outcomes, latencies by stage, deadlines, cost."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from pydantic import BaseModel

from clients.segment import SegmentResult

STAGES = ("receive", "queue", "decode", "infer", "embed", "state", "total")


class Spread(BaseModel):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread | None:
        if not values:
            return None
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        return cls(p50=float(p50), p95=float(p95), p99=float(p99), max=max(values))


class TenantFigures(BaseModel):
    """What became of one tenant's segments. `latency_ms` counts from the moment a segment was due, `late` are
    answers that took longer than a segment's length; `failed` are refusals that are no drops of the camera's
    own, by problem; `cost` is over the most expensive configuration's."""

    cameras: int
    due: int
    answered: int
    late: int
    dropped: dict[str, int]
    failed: dict[str, int]
    cost: float | None
    megabytes: float
    latency_ms: Spread | None
    stages_ms: dict[str, Spread]


class Tally:
    """Takes results in as they come."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: of a segment."""
        self._late_ms = 1e3 * seconds
        self._cameras: Counter[str] = Counter()
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._latencies: defaultdict[str, list[float]] = defaultdict(list)
        self._stages: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._costs: defaultdict[str, float] = defaultdict(float)
        self._bytes: defaultdict[str, int] = defaultdict(int)

    def joined(self, tenant: str) -> None:
        self._cameras[tenant] += 1

    def failed(self, tenant: str, problem: str) -> None:
        """A camera gave up: that is never expected."""
        self._failures[tenant][problem] += 1

    def take(self, tenant: str, result: SegmentResult) -> None:
        if result.answer is None:
            assert result.dropped is not None
            self._outcomes[tenant][result.dropped] += 1
            return
        assert result.latency_ms is not None
        self._outcomes[tenant]["answered"] += 1
        self._outcomes[tenant]["beyond"] += result.latency_ms > self._late_ms
        self._latencies[tenant].append(result.latency_ms)
        for stage in STAGES:
            self._stages[tenant, stage].append(getattr(result.answer.timings_ms, stage))
        self._costs[tenant] += result.answer.cost
        self._bytes[tenant] += result.bytes or 0

    def figures(self) -> dict[str, TenantFigures]:
        return {tenant: self._of(tenant) for tenant in sorted(self._cameras)}

    def _of(self, tenant: str) -> TenantFigures:
        outcomes = dict(self._outcomes[tenant])
        answered, late = outcomes.pop("answered", 0), outcomes.pop("beyond", 0)
        stages = {stage: Spread.of(self._stages[tenant, stage]) for stage in STAGES}
        return TenantFigures(
            cameras=self._cameras[tenant],
            due=answered + sum(outcomes.values()),
            answered=answered,
            late=late,
            dropped=outcomes,
            failed=dict(self._failures[tenant]),
            cost=self._costs[tenant] / answered if answered else None,
            megabytes=self._bytes[tenant] / 1e6,
            latency_ms=Spread.of(self._latencies[tenant]),
            stages_ms={stage: spread for stage, spread in stages.items() if spread is not None},
        )
