"""Mutual learning: all variants of a family at once, each towards what the others say.

What is promised is agreement with variant 0, and of what a network says of streets that it has never seen a
part is chance, which no other network can learn from its answers. So once the variants are pruned,
variant 0 learns on too: from labels, from its own earlier answers, and from what all pruned variants say
together, while each of them learns what variant 0 says (Zhang et al. 2018; a teacher that its students can
follow: Park et al. 2021). The labels keep it honest: networks could also agree on nonsense.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rl.vss.batches import Batch, BatchSource
from rl.vss.recipe import FamilyRecipe, Mutual
from rl.vss.trainer import (
    CHECKPOINT_EVERY,
    Objective,
    TrainingState,
    ready_to_train,
    resized,
    save_checkpoint,
    settle,
)
from rl.vss.training_log import TrainingLog
from serving.vss.certainty import without_doubtful
from serving.vss.pspnet import PSPNet


@dataclass(frozen=True)
class _Learner:
    """One variant while it learns."""

    state: TrainingState
    objective: Objective

    @classmethod
    def of(
        cls, network: PSPNet, number: int, recipe: FamilyRecipe, mutual: Mutual, crops: BatchSource
    ) -> _Learner:
        ready_to_train(network)
        schedule, losses = mutual.pruned, recipe.pruning.losses
        if number == 0:
            schedule, losses = mutual.dense, recipe.losses
        objective = Objective(network, losses, crops.weights(0.0), recipe.compile)
        return cls(TrainingState(network, schedule), objective)

    def answer(self, images: Tensor, size: Sequence[int]) -> Tensor:
        """Logits (N, classes, *size)."""
        settle(self.state.network, self.state.schedule, self.state.step)
        return resized(self.objective.run(images), size)


def learn_mutually(
    networks: Sequence[PSPNet],
    recipe: FamilyRecipe,
    mutual: Mutual,
    crops: BatchSource,
    directory: Path,
    validate: Callable[[PSPNet], float],
) -> list[PSPNet]:
    """Trains all variants in place and returns the averages of their weights, in eval mode on the CPU; goes
    on from the checkpoint in `directory`. `validate` looks at variant 0."""
    directory.mkdir(parents=True, exist_ok=True)
    learners = [_Learner.of(network, n, recipe, mutual, crops) for n, network in enumerate(networks)]
    dense, checkpoint, steps = learners[0].state, directory / "checkpoint.pt", mutual.dense.steps
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=dense.device, weights_only=True)
        for learner, state in zip(learners, saved, strict=True):
            learner.state.load_state_dict(state)
    with TrainingLog(directory / "log.jsonl", "all variants: mutual", steps, recipe.batch, dense.step) as log:
        batches = crops.batches(recipe, range(dense.step, steps), beside=False)
        for batch in batches:
            losses = _losses(learners, batch, recipe, mutual)
            for learner, loss in zip(learners, losses, strict=True):
                learner.state.descend(loss)
            done = dense.step == steps
            validated = validate(_average(dense)) if done else None
            log.record(dense.step, float(sum(loss.item() for loss in losses)), validated)
            if dense.step % CHECKPOINT_EVERY == 0 or done:
                save_checkpoint([learner.state.state_dict() for learner in learners], checkpoint)
    return [_average(learner.state).eval().cpu() for learner in learners]


def _losses(learners: Sequence[_Learner], batch: Batch, recipe: FamilyRecipe, mutual: Mutual) -> list[Tensor]:
    """The loss of every variant. Pruned variants see crops as cameras send them; variant 0 sees most of them
    as sharp as they were, since its answer to those is what the others are held to."""
    size, sharp = batch.soft.shape[-2:], round(mutual.clean_share * len(batch.images))
    shown = torch.cat([batch.clean[:sharp], batch.images[sharp:]])
    answers = [
        learner.answer(batch.images if number else shown, size) for number, learner in enumerate(learners)
    ]
    together = torch.stack([answer.detach().softmax(1) for answer in answers[1:]]).mean(0)
    dense = learners[0].objective
    losses = [dense.labelled(answers[0], batch) + mutual.pull * dense.towards(answers[0], together)]
    certain = without_doubtful(answers[0].detach(), recipe.certainty_of(0))
    held = batch._replace(soft=certain.softmax(1))
    return losses + [
        learner.objective.labelled(answer, held)
        for learner, answer in zip(learners[1:], answers[1:], strict=True)
    ]


def _average(state: TrainingState) -> PSPNet:
    average = state.average
    assert isinstance(average, PSPNet)
    return average
