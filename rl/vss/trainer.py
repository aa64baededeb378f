"""The training loop of every segmentation network: variant 0, the annealed masks and the fine-tuning.

Sample crops, one optimiser step, average the weights, checkpoint. A run that was killed goes on from its
last checkpoint.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from rl.vss.augment import augment
from rl.vss.datasets import LabelledImage, target_sets
from rl.vss.loss import distillation, set_cross_entropy, target_weights
from rl.vss.recipe import FamilyRecipe, Schedule
from rl.vss.training_log import TrainingLog

CHECKPOINT_EVERY = 200
VALIDATE_EVERY = 800

Network = TypeVar("Network", bound=nn.Module)


class CropStream(IterableDataset[tuple[Tensor, Tensor]]):
    """An endless stream of augmented crops, a fixed share of them from CamVid."""

    def __init__(
        self, camvid: list[LabelledImage], streets: list[LabelledImage], recipe: FamilyRecipe, seed: int
    ) -> None:
        self.camvid, self.streets, self.recipe, self.seed = camvid, streets, recipe, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        while True:
            from_camvid = not self.streets or (self.camvid and rng.random() < self.recipe.camvid_share)
            pool = self.camvid if from_camvid else self.streets
            image, target = augment(
                pool[rng.integers(len(pool))], self.recipe.crop, self.recipe.augmentation, rng
            )
            yield torch.tensor(image), torch.tensor(target)


@dataclass
class TrainingData:
    camvid: list[LabelledImage]
    streets: list[LabelledImage]

    def weights(self, rarity: float) -> Tensor:
        """Loss weights of the target ids, from their share of pixels."""
        sets = target_sets()
        counts = torch.zeros(len(sets))
        for example in [*self.camvid, *self.streets]:
            counts += torch.from_numpy(np.bincount(example.target.ravel(), minlength=256)[: len(sets)])
        return target_weights(counts, rarity)

    def batches(self, recipe: FamilyRecipe, start: int) -> Iterable[tuple[Tensor, Tensor]]:
        """Endless batches (N, H, W, 3) uint8 and (N, H/4, W/4) uint8; other crops for other starts."""
        return DataLoader(
            CropStream(self.camvid, self.streets, recipe, seed=recipe.seed * 1_000_003 + start),
            batch_size=recipe.batch,
            num_workers=recipe.loader_workers,
            persistent_workers=recipe.loader_workers > 0,
        )


class TrainingState:
    """What a checkpoint holds: the network, the moving average of its weights, the optimiser, the step."""

    def __init__(self, network: nn.Module, schedule: Schedule) -> None:
        self.network, self.schedule, self.step = network, schedule, 0
        self.average = copy.deepcopy(network).requires_grad_(False)
        decayed = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=schedule.learning_rate,
        )

    def restore(self, checkpoint: Path) -> None:
        device = next(self.network.parameters()).device
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        self.network.load_state_dict(saved["network"])
        self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]

    def save(self, checkpoint: Path) -> None:
        """Replaces the checkpoint in one move, so that a kill leaves the old one or the new one."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)

    def descend(self, loss: Tensor) -> None:
        """One optimiser step, after which the average follows."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.schedule, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        _follow(
            self.average, self.network, min(self.schedule.average_decay, (1 + self.step) / (10 + self.step))
        )
        self.step += 1


class Objective:
    """The loss of one batch: labels, and the teacher's soft labels where there is a teacher.

    Only the networks are compiled: inside the graph, the loss's gather has an all-zero gradient on CPUs.
    Shapes are static, and each run starts from an empty compiler cache, because all networks share the
    code of one `forward` and the compiler gives up on code that it has compiled too often.
    """

    def __init__(
        self, network: nn.Module, teacher: nn.Module | None, weights: Tensor, recipe: FamilyRecipe
    ) -> None:
        self.device = next(network.parameters()).device
        self.weights, self.sets = weights.to(self.device), target_sets().to(self.device)
        self.distillation = recipe.pruning.distillation
        self.forward = network
        self.teach = teacher.to(memory_format=torch.channels_last) if teacher is not None else None  # type: ignore[call-overload]
        if recipe.compile:
            torch.compiler.reset()
            self.forward = torch.compile(network, dynamic=False)  # type: ignore[assignment]
            self.teach = torch.compile(self.teach, dynamic=False) if self.teach is not None else None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        pixels = images.to(self.device).permute(0, 3, 1, 2).float().div_(255)  # (N, 3, H, W), channels last
        logits = self.forward(pixels)
        loss = set_cross_entropy(logits, targets.to(self.device).long(), self.sets, self.weights)
        if self.teach is not None:
            with torch.no_grad():
                soft = self.teach(pixels)
            loss = loss + self.distillation * distillation(logits, soft)
        return loss


def learning_rate(schedule: Schedule, step: int) -> float:
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    return schedule.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / schedule.steps)))


def train(
    network: Network,
    data: TrainingData,
    recipe: FamilyRecipe,
    schedule: Schedule,
    directory: Path,
    *,
    teacher: nn.Module | None = None,
    before_step: Callable[[int], None] | None = None,
    validate: Callable[[nn.Module], float] | None = None,
    title: str = "training",
) -> Network:
    """Trains `network` in place and returns the averaged copy of it; resumes from `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    network.train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state, checkpoint = TrainingState(network, schedule), directory / "checkpoint.pt"
    if checkpoint.exists():
        state.restore(checkpoint)
    average: Network = state.average  # type: ignore[assignment]
    if state.step >= schedule.steps:
        return average.eval()
    objective = Objective(network, teacher, data.weights(recipe.rarity), recipe)
    with TrainingLog(directory / "log.jsonl", title, schedule.steps, recipe.batch, state.step) as log:
        remaining = range(state.step, schedule.steps)
        for step, (images, targets) in zip(remaining, data.batches(recipe, state.step), strict=False):
            if before_step is not None:
                before_step(step)
            loss = objective(images, targets)
            state.descend(loss)
            done = state.step == schedule.steps
            validated = validate is not None and (state.step % VALIDATE_EVERY == 0 or done)
            log.record(state.step, loss.item(), validate(average) if validate and validated else None)
            if state.step % CHECKPOINT_EVERY == 0 or done:
                state.save(checkpoint)
    return average.eval()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
