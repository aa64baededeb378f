"""The training loop: it learns, it can be killed, and it goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rl.vss import trainer
from rl.vss.batches import StepBatches, TrainingData
from rl.vss.recipe import Augmentation, FamilyRecipe, Losses, Schedule
from rl.vss.trainer import Objective, learning_rate, resized, train
from serving.vss.pspnet import PSPNet

SCHEDULE = Schedule(steps=6, learning_rate=0.01, warmup=2, average_decay=0.5)
LOSSES = Losses(consistency=0.0, rarity=0.5)


@pytest.fixture
def recipe(small_recipe: FamilyRecipe) -> FamilyRecipe:
    return small_recipe


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
        return train(network, made_up_data, recipe, SCHEDULE, LOSSES, tmp_path, before_step=kill_at_five)

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
    schedule = SCHEDULE.model_copy(update={"steps": 100, "settled": 0.0})
    plain = Augmentation(zoom=1, colour=0, exposure_share=0, rescale_share=0, noise_share=0, h264_share=0)
    recipe = recipe.model_copy(update={"augmentation": plain})
    network = PSPNet(recipe.architecture.model_copy(update={"merges": (16, 16)}))  # as fine as the data
    train(network, made_up_data, recipe, schedule, LOSSES, tmp_path, validate=lambda _: 0.25)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [25, 50, 75, 100]
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert rows[-1]["validation"] == 0.25
    assert all(row["images_s"] > 0 for row in rows)


def test_batch_norms_settle_for_the_last_steps(
    recipe: FamilyRecipe, made_up_data: TrainingData, tmp_path: Path
) -> None:
    network, seen = PSPNet(recipe.architecture), []

    def look(step: int) -> None:
        seen.append(float(network.head.norm.running_mean.sum()))  # type: ignore[union-attr]

    train(network, made_up_data, recipe, SCHEDULE, LOSSES, tmp_path, before_step=look)
    assert len(set(seen[:4])) == 4
    assert len(set(seen[3:])) == 1


def test_the_learning_rate_warms_up_and_falls_to_zero() -> None:
    schedule = Schedule(steps=100, learning_rate=1.0, warmup=10)
    rates = [learning_rate(schedule, step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, abs=0.05)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_variant_0_is_held_to_its_own_answer_at_other_scales(
    recipe: FamilyRecipe, made_up_data: TrainingData
) -> None:
    """At scale 1 there is nothing to agree with; below, the loss is higher by what differs."""
    network = PSPNet(recipe.architecture).eval()
    held = Losses(consistency=1.0)
    objective = Objective(network, held, made_up_data.weights(held.rarity), compiled=False)
    batch = StepBatches(made_up_data, recipe, [0])[0]
    with torch.no_grad():
        alone, beside = (objective(batch._replace(scale=scale)).item() for scale in (1.0, 0.5))
        indifferent = Objective(network, Losses(consistency=0.0), objective.weights, compiled=False)
        assert indifferent(batch._replace(scale=0.5)).item() == pytest.approx(alone)
    assert beside > alone


def test_logits_are_resized_only_where_sizes_differ() -> None:
    logits = torch.randn(1, 5, 3, 4)
    assert resized(logits, (3, 4)) is logits
    assert resized(logits, (6, 8)).shape == (1, 5, 6, 8)
