"""Where metrics go: to Ray, whose agent on each node collects them from all its processes, to be scraped at
one port. Replicas are many processes that come and go, so none of them is scraped itself.
"""

from __future__ import annotations

from typing import Any, Protocol

from ray.util import metrics as ray_metrics

from serving.telemetry.catalogue import Metric


class Instruments(Protocol):
    """What metrics are told with. Labels are those of the metric, by name."""

    def count(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        """Adds to a counter; an amount of 0 is none."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds one value to a histogram."""

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge of this process; NaN ends it."""


class RayInstruments:
    """Ray's metrics, each made when it is first told: a process exports what it has to say, nothing else."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def count(self, metric: Metric, amount: float = 1.0, **labels: str) -> None:
        if amount > 0:
            self._of(metric).inc(amount, labels)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        self._of(metric).observe(value, labels)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        self._of(metric).set(value, labels)

    def _of(self, metric: Metric) -> Any:
        made = self._made.get(metric.name)
        if made is None:
            if metric.kind == "histogram":
                made = ray_metrics.Histogram(metric.name, metric.meaning, list(metric.buckets), metric.labels)
            else:
                kind = ray_metrics.Counter if metric.kind == "counter" else ray_metrics.Gauge
                made = kind(metric.name, metric.meaning, metric.labels)
            self._made[metric.name] = made
        return made
