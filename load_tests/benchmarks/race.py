"""Contestants that take turns at work of a fixed size: times, ratios within each repeat, and their table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from load_tests.progress import Ticker
from rl.processor import describe_processor


@dataclass(frozen=True, slots=True)
class Contestant:
    """`run` does the work once; it has been warmed up by whoever made it."""

    name: str
    run: Callable[[], object]
    units: int = 1  # of what the race counts, in one run
    expected: float | None = None  # time over the first one's, where theory says


class Result(BaseModel):
    """Milliseconds a unit, one figure a repeat: the median of its turns."""

    name: str
    milliseconds: list[float]
    expected: float | None


class Race(BaseModel):
    """In each repeat all are compared with the first."""

    title: str
    unit: str
    processor: str
    results: list[Result]

    def ratios(self, index: int) -> list[float]:
        """Time a unit over the first one's, by repeat."""
        first, other = self.results[0].milliseconds, self.results[index].milliseconds
        return [mine / its for mine, its in zip(other, first, strict=True)]


def run_race(
    title: str, unit: str, contestants: Sequence[Contestant], turns: int, repeats: int, ticker: Ticker
) -> Race:
    """Everyone's turn comes before anyone's second, so that a machine which slows down slows all."""
    found: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    done = 0
    for _ in range(repeats):
        taken: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for _ in range(turns):
            for contestant in contestants:
                started = time.perf_counter()
                contestant.run()
                taken[contestant.name].append(1e3 * (time.perf_counter() - started) / contestant.units)
                done += 1
                ticker.tick(done, contestant.name)
        for name, times in taken.items():
            found[name].append(median(times))
    return Race(
        title=title,
        unit=unit,
        processor=describe_processor(),
        results=[Result(name=c.name, milliseconds=found[c.name], expected=c.expected) for c in contestants],
    )


def print_race(race: Race, console: Console) -> None:
    """Medians over the repeats, and in brackets from the least to the most."""
    table = Table(title=f"{race.title}\n{race.processor}", title_justify="left")
    first = race.results[0].name
    theory = any(result.expected is not None for result in race.results)
    columns = ("", f"ms a {race.unit}", f"{race.unit}s/s", f"time over {first}'s")
    for column in columns + (("in theory",) if theory else ()):
        table.add_column(column, justify="right" if column else "left")
    for index, result in enumerate(race.results):
        row = [
            result.name,
            spread(result.milliseconds, "{:.2f}"),
            f"{1e3 / median(result.milliseconds):.1f}",
            spread(race.ratios(index), "{:.3f}"),
        ]
        table.add_row(
            *row, *(("" if result.expected is None else f"{result.expected:.3f}",) if theory else ())
        )
    console.print(table)


def spread(values: Sequence[float], form: str) -> str:
    """`median (least to most)`."""
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle
