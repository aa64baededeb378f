"""The comparison: nobody is judged on drives that it saw, intervals hold their figure, the page stands
alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from configs.bundle import Bundle
from rl.adapter.commands import report_of
from rl.adapter.evaluation import BY_BANDWIDTH, drive_folds
from rl.adapter.figures import figures_of
from rl.adapter.methods import adapter_method, unlearnt_methods
from rl.adapter.play import Results, play
from rl.adapter.policies import Cautious, Optimal
from rl.adapter.recipe import AdapterRecipe, FullInformation, Imitation
from rl.adapter.replay import Replay
from rl.adapter.report import html_of
from rl.cli import evaluate
from rl.profiles.index import ClipIndex, write_index
from tests.rl.adapter.conftest import DRIVES

SOME = ("Optimal", "lagged Optimal", "best static", "most expensive")
RECIPE = AdapterRecipe(
    name="learnt", cameras=16, imitation=Imitation(steps=21), full_information=FullInformation(steps=21)
)


def test_every_drive_is_judged_once_by_what_never_saw_it(replay: Replay) -> None:
    seen: list[str] = []
    for fold in drive_folds(replay, 4, lambda number, whole: whole):
        learnt, judged = set(fold.learn.drives), set(fold.judged.drives)
        assert learnt | judged == set(DRIVES)
        assert not learnt & judged
        np.testing.assert_array_equal(replay.clips[fold.rows], fold.judged.clips)
        seen += judged
    assert sorted(seen) == sorted(drive for drive, split in DRIVES.items() if split != "train")


def test_costs_and_failures_are_counted_against_optimal(replay: Replay) -> None:
    best = play(replay, Optimal(replay), BY_BANDWIDTH)
    found = figures_of(Results.of(replay, best, BY_BANDWIDTH), replay.drives)
    assert found.failure_rate_feasible == 0
    assert found.flops_over_optimal == 0
    dearer = play(replay, Cautious(Optimal(replay), 0.1), BY_BANDWIDTH)
    above = figures_of(Results.of(replay, dearer, BY_BANDWIDTH), replay.drives)
    assert above.flops_over_optimal > 0
    assert above.flops_over_optimal_interval is not None
    low, high = above.flops_over_optimal_interval
    assert low <= above.flops_over_optimal <= high


def test_one_command_writes_page_and_figures(
    profile: Path, index: ClipIndex, family: Bundle, tmp_path: Path
) -> None:
    write_index(tmp_path / "clips.tsv", index)
    arguments = ["adapter", "--profile", profile, "--index", tmp_path / "clips.tsv", "--folds", 0]
    arguments += ["--bundle", family.directory, "--out", tmp_path / "report", "--json", tmp_path / "out.json"]
    for name in SOME:
        arguments += ["--method", name]
    result = CliRunner().invoke(evaluate, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert list(found["methods"]) == list(SOME)
    for method in found["methods"].values():
        assert {"failure_rate", "failure_rate_feasible", "flops_over_optimal"} <= set(method)
    assert found["segments"] == 40
    assert "<svg" in (tmp_path / "report" / "index.html").read_text()


def test_a_method_that_is_none_is_named_with_those_that_are(
    profile: Path, family: Bundle, tmp_path: Path
) -> None:
    arguments = ["adapter", "--profile", profile, "--bundle", family.directory, "--out", tmp_path]
    result = CliRunner().invoke(evaluate, [*map(str, arguments), "--method", "psychic"])
    assert result.exit_code == 1
    assert "psychic" in result.output
    assert "lagged Optimal" in result.output


@pytest.fixture(scope="module")
def page(replay: Replay, family: Bundle) -> str:
    methods = {name: method for name, method in unlearnt_methods().items() if name in SOME}
    methods["learnt"] = adapter_method(RECIPE, BY_BANDWIDTH)
    folds = list(drive_folds(replay, 3, lambda number, whole: whole))
    return html_of(report_of(replay, family, methods, folds, lambda line: None))


def test_the_page_needs_nothing_else(page: str) -> None:
    assert page.count("<svg") == 3 + 2  # trade-off, Fig. 14 and 15, and a curve for each phase of learning
    for outside in ("<link", "<script", 'src="http', "@import"):
        assert outside not in page


def test_the_page_names_every_method_and_drive(page: str) -> None:
    judged = (drive for drive, split in DRIVES.items() if split != "train")
    for name in (*SOME, "learnt", *judged):
        assert name in page
