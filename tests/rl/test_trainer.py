"""The training loop: it learns, it can be killed, and it goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rl.vss import trainer
from rl.vss.batches import TrainingData
from rl.vss.recipe import FamilyRecipe, Schedule
from rl.vss.trainer import learning_rate, train
from serving.vss.pspnet import Architecture, PSPNet

SCHEDULE = Schedule(steps=6, learning_rate=0.01, warmup=2, average_decay=0.5)


@pytest.fixture
def recipe(lite: FamilyRecipe, tiny: Architecture) -> FamilyRecipe:
    return lite.model_copy(
        update={"architecture": tiny, "crop": (32, 64), "batch": 2, "compile": False, "loader_workers": 0}
    )


def test_a_killed_run_goes_on_to_the_same_number_of_steps(
    recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 2)
    seen: list[int] = []

    def kill_at_five(step: int) -> None:
        seen.append(step)
        if seen == [0, 1, 2, 3, 4, 5]:
            raise KeyboardInterrupt

    def run() -> PSPNet:
        network = PSPNet(recipe.architecture)
        return train(network, made_up_data, recipe, SCHEDULE, tmp_path, before_step=kill_at_five)

    with pytest.raises(KeyboardInterrupt):
        run()
    network = run()
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5]
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 6
    assert {int(entry["step"]) for entry in saved["optimizer"]["state"].values()} == {6}
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 6
    assert not network.training
    again = run()  # finished: no step more, same weights
    assert len(seen) == 8
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_training_lowers_the_loss(recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path) -> None:
    schedule = SCHEDULE.model_copy(update={"steps": 50})
    train(PSPNet(recipe.architecture), made_up_data, recipe, schedule, tmp_path, validate=lambda _: 0.25)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [25, 50]
    assert rows[1]["loss"] < rows[0]["loss"]
    assert rows[1]["validation"] == 0.25
    assert all(row["images_s"] > 0 for row in rows)


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=10)
    rates = [learning_rate(schedule, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
