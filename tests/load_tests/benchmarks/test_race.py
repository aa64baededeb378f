"""Races of benchmarks: everyone takes turns, and ratios are of one repeat."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from load_tests.benchmarks.race import Contestant, Race, Result, print_race, run_race
from load_tests.progress import Ticker


def quiet() -> Console:
    return Console(file=io.StringIO(), width=130)


def test_contestants_take_turns() -> None:
    ran: list[str] = []
    contestants = [Contestant(name, lambda name=name: ran.append(name), units=2) for name in "ab"]  # type: ignore[misc]
    with Ticker(quiet(), 12) as ticker:
        race = run_race("both", "segment", contestants, turns=3, repeats=2, ticker=ticker)
    assert ran == ["a", "b"] * 6
    assert [len(result.milliseconds) for result in race.results] == [2, 2]


def test_a_ratio_is_of_one_repeat_so_that_a_machine_that_slows_down_changes_none() -> None:
    race = Race(
        title="both",
        unit="segment",
        processor="one",
        results=[
            Result(name="first", milliseconds=[10.0, 40.0], expected=None),
            Result(name="second", milliseconds=[5.0, 20.0], expected=0.25),
        ],
    )
    assert race.ratios(1) == pytest.approx([0.5, 0.5])
    console = quiet()
    print_race(race, console)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "0.500 (0.500 to 0.500)" in said
    assert "0.250" in said
