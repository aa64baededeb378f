"""A fuzzing run as tables and as JSON, and whether it found anything."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from load_tests.chaos.fuzz.campaign import Tally
from load_tests.chaos.processes import Held

MEMORY_BACK = 0.02
"""Memory must be back within this part of what it was when the first cases had been sent."""
SHOWN = 20
OUTCOMES_SHOWN = 8
MEGABYTE = 2**20


def growth(tally: Tally) -> float | None:
    """By which part memory grew from after the first cases to the end; None if the run was too short."""
    before, after = (sum(h.bytes for h in some.values()) for some in (tally.held_before, tally.held_after))
    return after / before - 1 if before and after else None


def faults(tally: Tally) -> list[str]:
    """Why the run failed, a line each; nothing where it did not."""
    found = [f"case {f.index} ({f.family}: {f.what}): {f.fault}" for f in tally.findings] + tally.unwell
    grown = growth(tally)
    if grown is not None and grown > MEMORY_BACK:
        found.append(f"memory grew by {grown:.1%}, more than {MEMORY_BACK:.0%}")
    if tally.decoders_missing:
        found.append(f"{tally.decoders_missing} decoder processes are gone")
    return found


def summary(tally: Tally, seed: int) -> dict[str, Any]:
    """All figures."""
    return {
        "seed": seed,
        "cases": tally.cases,
        "next_index": tally.next_index,
        "seconds": tally.seconds,
        "outcomes": {f"{family} {told}": n for (family, told), n in sorted(tally.outcomes.items())},
        "findings": [asdict(finding) for finding in tally.findings],
        "unwell": tally.unwell,
        "memory_growth": growth(tally),
        "held_before": {kind: asdict(some) for kind, some in tally.held_before.items()},
        "held_after": {kind: asdict(some) for kind, some in tally.held_after.items()},
        "decoders": tally.decoders,
        "decoders_replaced": tally.decoders_replaced,
    }


def print_report(tally: Tally, seed: int, console: Console) -> None:
    table = Table("family", "cases", "outcomes", title=f"seed {seed}: {tally.cases} cases")
    for family in sorted({family for family, _ in tally.outcomes}):
        mine = Counter({told: n for (name, told), n in tally.outcomes.items() if name == family})
        told = ", ".join(f"{n} x {what}" for what, n in mine.most_common(OUTCOMES_SHOWN))
        table.add_row(family, str(mine.total()), told)
    console.print(table)
    if tally.held_before and tally.held_after:
        console.print(_held_table(tally.held_before, tally.held_after))
    console.print(
        f"{tally.cases} cases in {tally.seconds:.0f} s, "
        f"{tally.cases / max(tally.seconds, 1e-9):.0f} a second; "
        f"{tally.decoders} decoders, {tally.decoders_replaced} of them new"
    )
    found = faults(tally)
    for line in found[:SHOWN]:
        console.print(line, style="red", markup=False)
    if len(found) > SHOWN:
        console.print(f"and {len(found) - SHOWN} more (--json has all)", style="red")
    if not found:
        console.print("the service answers as before")


def _held_table(before: dict[str, Held], after: dict[str, Held]) -> Table:
    table = Table(
        "kind", "processes", "MB before", "MB after", "descriptors", "threads", title="what is held"
    )
    both = [(kind, before.get(kind, Held()), after.get(kind, Held())) for kind in sorted({*before, *after})]
    whole = sum(before.values(), Held()), sum(after.values(), Held())
    for kind, old, new in [*both, ("all", *whole)]:
        table.add_row(
            kind,
            f"{old.processes} -> {new.processes}",
            f"{old.bytes / MEGABYTE:.0f}",
            f"{new.bytes / MEGABYTE:.0f}",
            f"{old.descriptors} -> {new.descriptors}",
            f"{old.threads} -> {new.threads}",
        )
    return table
