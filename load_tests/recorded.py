"""Instruments that keep what they are told, to be looked at."""

from __future__ import annotations

import math
from collections import defaultdict

from serving.state.store import StateStore
from serving.telemetry.catalogue import Metric
from serving.telemetry.promises import PromiseTelemetry
from serving.telemetry.segments import SegmentTelemetry
from serving.telemetry.tenants import TenantLabels

Labels = tuple[tuple[str, str], ...]


class Recorded:
    """Counters' sums, histograms' values and gauges by metric and labels, checked against the catalogue."""

    def __init__(self) -> None:
        self.sums: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self.values: defaultdict[tuple[str, Labels], list[float]] = defaultdict(list)
        self.gauges: dict[tuple[str, Labels], float] = {}
        self.calls = 0

    def count(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        key = self._key(metric, "counter", labels)
        if amount > 0:
            self.calls += 1
            self.sums[key] += amount

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        self.calls += 1
        self.values[self._key(metric, "histogram", labels)].append(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        self.calls += 1
        key = self._key(metric, "gauge", labels)
        if math.isnan(value):
            self.gauges.pop(key, None)
        else:
            self.gauges[key] = value

    def _key(self, metric: Metric, kind: str, labels: dict[str, str]) -> tuple[str, Labels]:
        assert metric.kind == kind
        assert set(labels) == set(metric.labels)
        return metric.name, tuple(sorted(labels.items()))


def segment_telemetry(store: StateStore, to: Recorded | None = None, most: int = 50) -> SegmentTelemetry:
    return SegmentTelemetry(to or Recorded(), TenantLabels(store.tenants, most))


def promise_telemetry(store: StateStore, to: Recorded | None = None) -> PromiseTelemetry:
    return PromiseTelemetry(to or Recorded(), TenantLabels(store.tenants, 50), 0.95)
