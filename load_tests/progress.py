"""How long runs show where they are: a bar with the time left; in a log, a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_S = 30.0


def console_for_tables(width: int = 130) -> Console:
    """So wide where the output is a file, which has no width of its own."""
    return Console(width=None if sys.stdout.isatty() else width)


def time_left(console: Console) -> Progress:
    """A bar a task, with what it does and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )


class Ticker:
    """A context manager; `tick` says how much of `total` is done and what is going on."""

    def __init__(self, console: Console, total: float) -> None:
        self._console, self._total = console, total
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tick(self, done: float, what: str) -> None:
        self._bar.update(self._task, completed=done, description=what)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= EVERY_S:
            self._said = now
            left = (now - self._began) * (self._total / done - 1) if done else float("nan")
            self._console.print(f"{what}: {done:.0f} of {self._total:.0f}, {left:.0f} s left", markup=False)
