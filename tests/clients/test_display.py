"""The live table shows what the server says, letter by letter."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from clients.display import Display, top_classes
from clients.protocol import SegmentAnswer, Timings
from clients.report import Summary
from clients.segment import SegmentResult
from configs.ladder import load_ladder

STAGES = ("receive", "queue", "decode", "infer", "embed", "state", "total")


def answered(**fields: Any) -> SegmentResult:
    answer = SegmentAnswer(
        seq=0,
        configuration=0,
        bundle="blocks-0",
        embedding=None,
        cost=1.0,
        class_shares={"car [red]": 0.7, "[/]": 0.3},
        timings_ms=Timings(**dict.fromkeys(STAGES, 1.0)),
        **{"predicted_miou": None} | fields,
    )
    return SegmentResult(
        0, load_ladder()[0], 0.0, "blocks-0", [], bytes=212_000, estimated_bytes=198_000.0, answer=answer
    )


def shown(result: SegmentResult, terminal: bool) -> str:
    written = io.StringIO()
    display = Display("camera", Console(file=written, force_terminal=terminal, width=180))
    totals = Summary(lambda index: 1.0)
    with display:
        totals.add(result)
        display.show(result, totals)
    return written.getvalue()


def test_class_names_are_no_markup() -> None:
    assert "car [red] 70 %, [/] 30 %" in shown(answered(), terminal=True)


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_foretold_stands_beside_what_it_was_to_be(terminal: bool) -> None:
    text = shown(answered(predicted_miou=0.712, target_miou=0.65), terminal)
    assert "212 (est. 198)" in text
    assert "0.71 / 0.65" in text


def test_the_summary_says_how_good_foresight_was() -> None:
    totals = Summary(lambda index: 1.0)
    for predicted in (0.7, 0.6):
        totals.add(answered(predicted_miou=predicted, target_miou=0.65))
    figures = totals.figures()
    assert figures["estimate_error"]["p50"] == pytest.approx(1 - 198 / 212)
    assert figures["mean_predicted_miou"] == pytest.approx(0.65)
    assert figures["predicted_below_target"] == 0.5
    assert "predicted mIoU 0.65 (1 below target), sizes estimated within 7% (median)" in totals.line()


def test_the_largest_shares_come_first() -> None:
    assert top_classes({"a": 0.1, "b": 0.6, "c": 0.3, "d": 0.0}, count=2) == "b 60 %, c 30 %"
