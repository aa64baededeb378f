"""The live table shows what the server says, letter by letter."""

from __future__ import annotations

import io

from rich.console import Console

from clients.display import Display, top_classes
from clients.protocol import SegmentAnswer, Timings
from clients.report import Summary
from clients.segment import SegmentResult
from configs.ladder import load_ladder


def test_class_names_are_no_markup() -> None:
    stages = ("receive", "queue", "decode", "infer", "embed", "state", "total")
    answer = SegmentAnswer(
        seq=0,
        configuration=0,
        bundle="blocks-0",
        embedding=None,
        predicted_miou=None,
        cost=1.0,
        class_shares={"car [red]": 0.7, "[/]": 0.3},
        timings_ms=Timings(**dict.fromkeys(stages, 1.0)),
    )
    result = SegmentResult(0, load_ladder()[0], 0.0, "blocks-0", [], answer=answer)
    written = io.StringIO()
    display = Display("camera", Console(file=written, force_terminal=True, width=160))
    totals = Summary(lambda index: 1.0)
    with display:
        totals.add(result)
        display.show(result, totals)
    assert "car [red] 70 %, [/] 30 %" in written.getvalue()


def test_the_largest_shares_come_first() -> None:
    assert top_classes({"a": 0.1, "b": 0.6, "c": 0.3, "d": 0.0}, count=2) == "b 60 %, c 30 %"
