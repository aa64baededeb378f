"""From what cameras wrote down to figures, and figures as tables and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from load_tests.benchmarks.traffic import Sent


class Latency(BaseModel):
    """Milliseconds from the request's first byte sent to its answer whole."""

    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, requests: Sequence[Sent]) -> Latency | None:
        if not requests:
            return None
        found = np.array([request.latency_s for request in requests]) * 1e3
        return cls(
            p50=float(np.percentile(found, 50)), p95=float(np.percentile(found, 95)), max=float(found.max())
        )


class TrafficFigures(BaseModel):
    """What became of the segments that were due (or, for goodput, answered) while it was measured."""

    offered_per_s: float
    goodput_per_s: float
    answered: int
    lost: dict[str, int]  # by problem; `unanswered` where there was no answer at all
    answers_ms: Latency | None
    refusals_ms: Latency | None
    late_start_p95_ms: float  # how late the generator itself was

    @classmethod
    def of(cls, journals: Sequence[Sequence[Sent]], start: float, end: float) -> TrafficFigures:
        """Of what was due from `start` to `end`, `time.perf_counter` seconds."""
        requests = [request for journal in journals for request in journal]
        due = [request for request in requests if start <= request.due < end]
        good = [request for request in due if request.status == 200]
        refused = [request for request in due if request.status not in (0, 200)]
        ended = sum(request.status == 200 and start <= request.ended < end for request in requests)
        late = [(request.sent - request.due) * 1e3 for request in due] or [0.0]
        return cls(
            offered_per_s=len(due) / (end - start),
            goodput_per_s=ended / (end - start),
            answered=len(good),
            lost=dict(Counter(r.problem if r.status else "unanswered" for r in due if r.status != 200)),
            answers_ms=Latency.of(good),
            refusals_ms=Latency.of(refused),
            late_start_p95_ms=float(np.percentile(late, 95)),
        )


class Stage(BaseModel):
    """One stage of load: figures by tenant, and the resident memory once it was over."""

    name: str
    tenants: dict[str, TrafficFigures]
    resident_mb: float


class Repeat(BaseModel):
    """One run of all stages. Peaks are answers a second in a closed loop."""

    resident_mb_at_start: float
    peak_per_s: float
    dearest_peak_per_s: float
    load: list[Stage]
    sharing: list[Stage]


class OverloadReport(BaseModel):
    """Everything that was measured, and on what."""

    processor: str
    bundle: str
    segment: str
    configuration: str
    dearest: str
    deadline_s: float
    seconds: float
    note: str
    repeats: list[Repeat]

    def over(self, stage: int) -> list[tuple[float, float]]:
        """(goodput over that at 1x, memory over that at the start) of a stage of load, by repeat."""
        return [
            (
                repeat.load[stage].tenants["all"].goodput_per_s
                / max(repeat.load[0].tenants["all"].goodput_per_s, 1e-9),
                repeat.load[stage].resident_mb / repeat.resident_mb_at_start,
            )
            for repeat in self.repeats
        ]

    def rise(self, stage: int, saturated: int) -> list[float]:
        """The behaving tenant's p95 in a stage over that on a machine which is just full, by repeat."""
        found = []
        for repeat in self.repeats:
            here, there = (repeat.sharing[i].tenants["behaving"].answers_ms for i in (stage, saturated))
            if here is not None and there is not None:
                found.append(here.p95 / there.p95)
        return found


def print_report(report: OverloadReport, console: Console) -> None:
    """The tables: medians over the repeats."""
    console.print(_load_table(report))
    console.print(_sharing_table(report))
    console.print(report.note)


def _load_table(report: OverloadReport) -> Table:
    table = Table(title=f"Load over the peak; {report.segment}, {report.configuration}; {report.processor}")
    columns = ("stage", "offered/s", "goodput/s", "of 1x", "answers p50/p95 ms", "refused")
    for name in (*columns, "refusals p50/p95/max ms", "generator late p95 ms", "resident MB"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    peak = median(repeat.peak_per_s for repeat in report.repeats)
    start = median(repeat.resident_mb_at_start for repeat in report.repeats)
    table.add_row("closed loop", "", f"{peak:.2f}", "", "", "", "", "", f"{start:.0f} at start")
    for index, stage in enumerate(report.repeats[0].load):
        stages = [repeat.load[index] for repeat in report.repeats]
        figures = [stage.tenants["all"] for stage in stages]
        table.add_row(
            stage.name,
            *_traffic(figures)[:2],
            f"{median(ratio for ratio, _ in report.over(index)):.0%}",
            *_traffic(figures)[2:4],
            _latency([f.refusals_ms for f in figures], ("p50", "p95", "max")),
            f"{median(f.late_start_p95_ms for f in figures):.0f}",
            f"{median(stage.resident_mb for stage in stages):.0f}",
        )
    return table


def _sharing_table(report: OverloadReport) -> Table:
    table = Table(title=f"Two tenants, equal shares; the flooding one's dearest is {report.dearest}")
    columns = ("stage", "tenant", "offered/s", "goodput/s", "answers p50/p95 ms", "lost", "why")
    for name in (*columns, "p95 over saturated"):
        table.add_column(name, justify="left" if name in ("stage", "tenant", "why") else "right")
    names = [stage.name for stage in report.repeats[0].sharing]
    for index, stage in enumerate(report.repeats[0].sharing):
        for tenant in stage.tenants:
            figures = [repeat.sharing[index].tenants[tenant] for repeat in report.repeats]
            reasons = sum((Counter(f.lost) for f in figures), Counter[str]())
            rises = report.rise(index, names.index("saturated")) if tenant == "behaving" else []
            table.add_row(
                stage.name,
                tenant,
                *_traffic(figures),
                ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()),
                f"{median(rises):.2f}" if rises else "",
            )
    return table


def _traffic(figures: Sequence[TrafficFigures]) -> tuple[str, str, str, str]:
    """Offered, goodput, latency of answers, share lost."""
    lost = median(sum(f.lost.values()) / max(1, f.answered + sum(f.lost.values())) for f in figures)
    return (
        f"{median(f.offered_per_s for f in figures):.2f}",
        f"{median(f.goodput_per_s for f in figures):.2f}",
        _latency([f.answers_ms for f in figures], ("p50", "p95")),
        f"{lost:.1%}",
    )


def _latency(found: Sequence[Latency | None], parts: Sequence[str]) -> str:
    known = [latency for latency in found if latency is not None]
    if not known:
        return ""
    return " / ".join(f"{median(getattr(latency, part) for latency in known):.0f}" for part in parts)
