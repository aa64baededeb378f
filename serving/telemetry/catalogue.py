"""Every metric of the application: name, labels, meaning. `docs/telemetry.md` has them as a table, dashboards
and alerts (`configs/telemetry/`) are made of them, and tests hold all three together.

Counters and histograms only ever rise; those of a replica that is gone stay, as Prometheus wants it. Gauges
are of now: each replica sets its own again and again, and those of a replica that is gone end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0)
"""Upper ends of buckets of time. Ray passes counts by bucket on, not values: a quantile or a threshold is as
exact as the nearest of these, and the sum of a histogram is that of its buckets' middles."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; `name` is what Ray is told."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """Its name where it is scraped; a histogram's has `_bucket`, `_count` and `_sum` behind it."""
        return f"ray_{self.name}" + ("_total" if self.kind == "counter" else "")


SEGMENTS = Metric("penance_segments", "counter", ("tenant", "variant"), "accepted segments")
BYTES = Metric("penance_segment_bytes", "counter", ("tenant",), "bytes of accepted segments' bodies")
COST = Metric(
    "penance_segment_cost",
    "counter",
    ("tenant",),
    "cost of accepted segments, each normalised by the most expensive configuration",
)
PREDICTED_MIOU = Metric(
    "penance_predicted_miou",
    "counter",
    ("tenant",),
    "sum of accepted segments' predicted mIoU; divide by their number",
)
SHORTFALLS = Metric(
    "penance_predicted_shortfalls",
    "counter",
    ("tenant",),
    "accepted segments whose predicted mIoU is below their target",
)
REFUSALS = Metric(
    "penance_refusals",
    "counter",
    ("tenant", "reason"),
    "segments that were refused, by the last part of the problem's type; `hung-up`: nobody waited any more",
)
REPLAYS = Metric("penance_replays", "counter", ("tenant",), "segments answered again from what is stored")
DROPS = Metric("penance_drops", "counter", ("tenant",), "segments that cameras reported as dropped")
AUDITS = Metric(
    "penance_audits",
    "counter",
    ("tenant", "outcome"),
    "audits that were `asked` for; that showed the target `met` or `missed`",
)
FAILURE_RATE = Metric(
    "penance_failure_rate",
    "gauge",
    ("tenant", "bound"),
    "share of failed segments: certified `at_most` and `at_least`, and `promised` (docs/promise.md)",
)
SEGMENT_SECONDS = Metric(
    "penance_segment_seconds",
    "histogram",
    ("tenant",),
    "from an accepted segment's first byte to its commit",
    SECONDS,
)
STAGE_SECONDS = Metric(
    "penance_stage_seconds",
    "histogram",
    ("stage",),
    "accepted segments' time by stage: receive, state, queue, decode, infer, embed, commit",
    SECONDS,
)
WAITING = Metric("penance_waiting_segments", "gauge", (), "segments that wait for a lane of the replica")
RUNNING = Metric("penance_running_segments", "gauge", (), "segments that hold a lane of the replica")
BACKLOG = Metric("penance_backlog_seconds", "gauge", (), "time that all waiting segments would take")
BROWN_OUT = Metric(
    "penance_brown_out", "gauge", (), "what the replica leaves out: 0 nothing, 4 the most (docs/overload.md)"
)
REDIS_UP = Metric("penance_redis_up", "gauge", (), "1 where Redis answered the replica's last ping, else 0")
REDIS_SECONDS = Metric("penance_redis_seconds", "histogram", (), "how long answered pings took", SECONDS)
DECODER_FAILURES = Metric(
    "penance_decoder_failures",
    "counter",
    ("variant", "cause"),
    "decoder processes that `crashed` or `hung` on a segment, and were replaced",
)

METRICS = (
    SEGMENTS,
    BYTES,
    COST,
    PREDICTED_MIOU,
    SHORTFALLS,
    REFUSALS,
    REPLAYS,
    DROPS,
    AUDITS,
    FAILURE_RATE,
    SEGMENT_SECONDS,
    STAGE_SECONDS,
    WAITING,
    RUNNING,
    BACKLOG,
    BROWN_OUT,
    REDIS_UP,
    REDIS_SECONDS,
    DECODER_FAILURES,
)
