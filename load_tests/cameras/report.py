"""What a scenario came to, as a table and as JSON."""

from __future__ import annotations

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from load_tests.cameras.scenario import Scenario
from load_tests.cameras.tally import TenantFigures


class ScenarioReport(BaseModel):
    """Everything that was seen."""

    scenario: Scenario
    run: str
    """Cameras' names begin with it."""
    processor: str
    bundle: str
    tenants: dict[str, TenantFigures]
    seconds: float


def print_report(report: ScenarioReport, console: Console) -> None:
    table = Table(title=f"{report.scenario.about} {report.bundle}; {report.processor}")
    names = (
        "tenant",
        "cameras",
        "due/s",
        "answered",
        "late",
        "dropped",
        "failed",
        "latency ms p50/p95/p99",
        "cost",
    )
    for name in names:
        table.add_column(name, justify="left" if name == "tenant" else "right")
    for tenant, figures in report.tenants.items():
        latency = figures.latency_ms
        table.add_row(
            tenant,
            str(figures.cameras),
            f"{figures.due / report.seconds:.1f}",
            f"{figures.answered / max(1, figures.due):.1%}",
            f"{figures.late / max(1, figures.answered):.1%}",
            _reasons(figures.dropped),
            _reasons(figures.failed),
            "" if latency is None else f"{latency.p50:.0f} / {latency.p95:.0f} / {latency.p99:.0f}",
            "" if figures.cost is None else f"{figures.cost:.3f}",
        )
    console.print(table)


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items())
