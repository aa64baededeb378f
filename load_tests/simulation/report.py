"""What was calibrated, compared and planned, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from load_tests.simulation.calibration import Calibration
from load_tests.simulation.plan import Need, Served
from load_tests.simulation.ramp import Followed
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
        console.print(
            f"{loop.cameras} cameras at {loop.rung}, each as soon as it was answered: {loop.per_s:.2f}/s"
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


def print_plan(served: Sequence[Served], needs: Sequence[Need], currency: str, console: Console) -> None:
    """What one node serves, then what fleets need."""
    table = Table(title="The most cameras that a node of variants serves")
    for name in ("machine", "policy", "fails", "cost", "cameras a node", "p50 ms", "p95 ms", "not uploaded"):
        table.add_column(name, justify="left" if name in ("machine", "policy") else "right")
    for one in served:
        table.add_row(
            one.machine,
            one.policy,
            f"{one.failure_rate:.1%}",
            f"{one.cost:.2f}",
            f"{one.cameras_a_node:.1f}",
            f"{one.at.p50_ms:.0f}",
            f"{one.at.p95_ms:.0f}",
            f"{one.at.dropped:.1%}",
        )
    console.print(table)
    table = Table(title=f"What fleets need; {currency} a month")
    for name in ("cameras", "machine", "policy", "cells", "nodes", "GPUs", "ingress nodes", "processors"):
        table.add_column(name, justify="left" if name in ("machine", "policy") else "right")
    for name in ("all day", "following the day", "a camera"):
        table.add_column(name, justify="right")
    for need in sorted(needs, key=lambda one: (one.cameras, one.machine, one.month)):
        table.add_row(
            f"{need.cameras:,}",
            need.machine,
            need.policy,
            f"{need.cells:,}",
            f"{need.variant_nodes:,}",
            f"{need.gpus:,}",
            f"{need.ingress_nodes:,}",
            f"{need.processors:,}",
            f"{need.month:,.0f}",
            f"{need.month_following:,.0f}",
            f"{need.month_following / need.cameras:.2f}",
        )
    console.print(table)


def print_followed(found: Sequence[Followed], console: Console) -> None:
    """Rules of autoscaling, the least refusals first."""
    table = Table(title="Rules of autoscaling on one ramp up and down")
    for name in (
        "target_ongoing_requests",
        "lanes",
        "replicas are",
        "downscale_delay_s",
        "refused",
        "p95 ms",
    ):
        table.add_column(name, justify="right")
    for name in ("node hours", "most nodes"):
        table.add_column(name, justify="right")
    for one in sorted(found, key=lambda one: one.refused):
        table.add_row(
            f"{one.rule.target_ongoing:g}",
            str(one.rule.lanes),
            "packed" if one.rule.pack else "spread",
            f"{one.rule.downscale_delay_s:g}",
            f"{one.refused:.2%}",
            f"{one.p95_ms:.0f}",
            f"{one.node_hours:.2f}",
            str(one.most_nodes),
        )
    console.print(table)
