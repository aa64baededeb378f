"""What people see while the camera runs: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clients.protocol import SegmentAnswer
from clients.report import Summary
from clients.segment import SegmentResult

ROWS = 14


class Display:
    """Shows segments as they come. Notices stay above the table."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._title = title
        self._recent: deque[SegmentResult] = deque(maxlen=ROWS)
        self._summary: Summary | None = None
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._table() if self._recent else Text(), refresh=True)  # totals come after it
            self._live.stop()

    def notify(self, line: str) -> None:
        """Prints one line; safe to call from any thread."""
        self._console.print(Text(line), soft_wrap=True)

    def show(self, result: SegmentResult, totals: Summary) -> None:
        """Takes in one result; `totals` already counts it."""
        if self._live is None:
            self._console.print(Text(describe(result)), soft_wrap=True)
            return
        # Label maps and frames of old rows are not needed, and would hold hundreds of megabytes.
        self._recent.append(_without_pictures(result))
        self._live.update(Group(self._table(), Text(totals.line(), style="bold")), refresh=True)

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left", expand=True)
        for heading in ("segment", "configuration", "kB", "upload", "latency", "cost", "mIoU", "MB/s"):
            table.add_column(heading, justify="left" if heading == "configuration" else "right", no_wrap=True)
        table.add_column("classes", ratio=1, no_wrap=True, overflow="ellipsis")
        for result in self._recent:
            kilobytes = sizes(result)
            if result.answer is None:
                outcome = Text(f"dropped: {result.dropped}", style="yellow")
                table.add_row(
                    str(result.seq), str(result.configuration), kilobytes, "", "", "", "", "", outcome
                )
                continue
            table.add_row(
                str(result.seq),
                str(result.configuration),
                kilobytes,
                f"{result.upload_ms or 0:.0f} ms",
                f"{result.latency_ms or 0:.0f} ms",
                f"{result.answer.cost:.3f}",
                accuracy(result.answer),
                "" if result.bandwidth is None else f"{result.bandwidth:.2f}",
                Text(top_classes(result.answer.class_shares)),  # names are not markup
            )
        return table


def sizes(result: SegmentResult) -> str:
    """Kilobytes, with those that were estimated before: `212 (est. 198)`."""
    if result.bytes is None:
        return ""
    estimated = "" if result.estimated_bytes is None else f" (est. {result.estimated_bytes / 1000:.0f})"
    return f"{result.bytes / 1000:.0f}{estimated}"


def accuracy(answer: SegmentAnswer) -> str:
    """Predicted mIoU against the target: `0.71 / 0.65`; nothing where the server predicts none."""
    if answer.predicted_miou is None:
        return ""
    target = "" if answer.target_miou is None else f" / {answer.target_miou:.2f}"
    return f"{answer.predicted_miou:.2f}{target}"


def describe(result: SegmentResult) -> str:
    """One segment in one line."""
    start = f"segment {result.seq}: {result.configuration}"
    if result.answer is None:
        return f"{start}, dropped ({result.dropped})"
    again = ", replayed" if result.answer.replayed else ""
    predicted = accuracy(result.answer)
    return (
        f"{start}, {sizes(result)} kB, upload {result.upload_ms or 0:.0f} ms, "
        f"latency {result.latency_ms or 0:.0f} ms, cost {result.answer.cost:.3f}{again}, "
        f"{f'mIoU {predicted}, ' if predicted else ''}"
        f"{top_classes(result.answer.class_shares)}"
    )


def top_classes(shares: dict[str, float], count: int = 4) -> str:
    """The classes that cover most of the picture: `road 41 %, sky 20 %`."""
    largest = sorted(shares.items(), key=lambda item: -item[1])[:count]
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in largest if share > 0)


def _without_pictures(result: SegmentResult) -> SegmentResult:
    answer = result.answer and result.answer.model_copy(update={"masks": None, "embedding": None})
    return replace(result, frames=[], answer=answer)
