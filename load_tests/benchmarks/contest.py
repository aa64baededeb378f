"""Contestants over the same course: figures of each run, ratios within each repeat, and their table."""

from __future__ import annotations

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from load_tests.benchmarks.race import spread


class Run(BaseModel):
    """What one contestant did."""

    name: str
    segments: int
    seconds: float
    cpu_s: float
    cpu_by: dict[str, float] = {}
    """Seconds by kind of process."""
    form: str = ""

    @property
    def per_s(self) -> float:
        return self.segments / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time a segment."""
        return 1e3 * self.cpu_s / max(1, self.segments)


class Contest(BaseModel):
    """Repeats of one course. In each repeat the first run is what all others are compared with."""

    processor: str
    segment: str
    configuration: str
    bundle: str
    cameras: int
    repeats: list[list[Run]]

    def ratios(self, index: int, to: int = 0) -> list[float]:
        """Throughput of one contestant over another's, by repeat."""
        return [repeat[index].per_s / repeat[to].per_s for repeat in self.repeats]

    def overheads_ms(self, index: int) -> list[float]:
        """Processor time a segment beyond the first contestant's, by repeat."""
        return [repeat[index].cpu_ms - repeat[0].cpu_ms for repeat in self.repeats]


def print_contest(contest: Contest, console: Console) -> None:
    """Medians over the repeats, and in brackets from the least to the most."""
    table = Table(
        title=f"{contest.configuration} of {contest.bundle}, {contest.segment}, {contest.cameras} cameras; "
        f"{contest.processor}"
    )
    names = [run.name for run in contest.repeats[0]]
    for column in ("", "segments/s", f"of {names[0]}", "CPU ms a segment", f"beyond {names[0]}"):
        table.add_column(column, justify="right" if column else "left")
    for index, name in enumerate(names):
        runs = [repeat[index] for repeat in contest.repeats]
        table.add_row(
            f"{name} {runs[0].form}".strip(),
            spread([run.per_s for run in runs], "{:.2f}"),
            spread(contest.ratios(index), "{:.0%}"),
            spread([run.cpu_ms for run in runs], "{:.0f}"),
            spread(contest.overheads_ms(index), "{:+.0f}"),
        )
    console.print(table)
    for run in contest.repeats[-1]:
        if len(run.cpu_by) > 1:
            parts = (f"{kind} {1e3 * s / max(1, run.segments):.0f}" for kind, s in run.cpu_by.items())
            console.print(f"{run.name}, CPU ms a segment: {', '.join(parts)}")
