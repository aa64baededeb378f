"""What was calibrated, compared and planned, as tables."""

from __future__ import annotations

from statistics import median

from rich.console import Console
from rich.table import Table

from load_tests.simulation.calibration import Calibration
from load_tests.simulation.validation import P95_WITHIN, THROUGHPUT_WITHIN, Validation


def print_calibration(found: Calibration, console: Console) -> None:
    """Medians by scale and variant; processor time by role; closed loops."""
    table = Table(title=f"Alone on the machine, ms; {found.frame}; {found.processor}")
    for name in ("scale", "variant", "before", "hop", "decode", "infer", "embed", "after", "whole"):
        table.add_column(name, justify="right")
    for (scale, variant), segments in found.by_kind.items():
        stages = ("before", "hop", "decode", "infer", "embed", "after", "latency")
        cells = [f"{median(getattr(one, stage) for one in segments) * 1e3:.0f}" for stage in stages]
        table.add_row(f"{scale:g}", str(variant), *cells)
    console.print(table)
    used = ", ".join(f"{role} {seconds * 1e3:.0f}" for role, seconds in sorted(found.cpu_s.items()))
    console.print(f"processor time a segment, ms: {used}")
    for loop in found.saturated:
        rung = f"{loop.scale:g}/{loop.qp}/{loop.variant}"
        console.print(
            f"{loop.cameras} cameras at {rung}, each as soon as it was answered: {loop.per_s:.2f}/s"
        )
    console.print(f"as if {found.capacity:.2f} of {found.cores} processors shared the work")


def print_validation(found: Validation, console: Console) -> None:
    """Simulation and application, load by load."""
    table = Table(title=f"Simulated / real; deadline {found.deadline_s:g} s, {found.seconds:g} s each")
    for name in ("load", "offered/s", "answered/s", "", "p50 ms", "p95 ms", "", "lost", "holds"):
        table.add_column(name, justify="left" if name == "load" else "right")
    for load in found.loads:
        s, r = load.simulated, load.real
        table.add_row(
            load.name,
            f"{s.offered_per_s:.2f} / {r.offered_per_s:.2f}",
            f"{s.goodput_per_s:.2f} / {r.goodput_per_s:.2f}",
            f"{load.throughput_error:+.1%}",
            f"{s.p50_ms:.0f} / {r.p50_ms:.0f}",
            f"{s.p95_ms:.0f} / {r.p95_ms:.0f}",
            f"{load.p95_error:+.1%}",
            f"{s.lost:.1%} / {r.lost:.1%}",
            "yes" if load.holds else "no",
        )
    console.print(table)
    console.print(f"asked for: throughput within {THROUGHPUT_WITHIN:.0%}, p95 within {P95_WITHIN:.0%}")
