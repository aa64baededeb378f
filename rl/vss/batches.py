"""Batches of augmented crops, made from nothing but the seed and the step: a resumed run sees what the
killed one would have seen, however many processes make the crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rl.vss.augment import augment
from rl.vss.datasets import LabelledImage, target_sets
from rl.vss.loss import target_weights
from rl.vss.recipe import FamilyRecipe

BURST = 40
"""Batches that are made ahead in one go on machines without a GPU. There, crops made beside the training
take cores from it in the middle of parallel loops, whose barriers then wait: crops in bursts between
training steps made 25 images a second of 16 on two cores."""


BDD_COUNTED = 500  # of BDD100K's images, which are read from disk each time, when classes are counted


class Batch(NamedTuple):
    images: Tensor  # (N, H, W, 3) uint8, degraded
    clean: Tensor  # (N, H, W, 3) uint8, the same crops as sharp as they were
    targets: Tensor  # (N, rows, columns) uint8
    soft: Tensor  # (N, classes, rows, columns) uint8: 255 x probability; all 0 where there is no soft label
    scale: float  # one of the recipe's


class BatchSource(Protocol):
    """What a network is trained on."""

    def weights(self, rarity: float) -> Tensor:
        """(targets,) loss weights of the target ids."""
        ...

    def batches(self, recipe: FamilyRecipe, steps: range, *, beside: bool) -> Iterator[Batch]:
        """The batches of these steps; `beside`: made while the network trains, else in bursts between."""
        ...


@dataclass(frozen=True)
class TrainingData:
    """The pools that crops are drawn from, by the names of `rl.vss.recipe.Shares`."""

    camvid: Sequence[LabelledImage] = ()
    streets: Sequence[LabelledImage] = ()
    annotated: Sequence[LabelledImage] = ()
    unlabelled: Sequence[LabelledImage] = ()
    bdd100k: Sequence[LabelledImage] = ()
    scene: Sequence[LabelledImage] = ()

    def weights(self, rarity: float) -> Tensor:
        sets = target_sets()
        counts = torch.zeros(len(sets))
        every = -(-len(self.bdd100k) // BDD_COUNTED) or 1
        for example in chain(self.camvid, self.streets, self.annotated, self.scene, self.bdd100k[::every]):
            counts += torch.from_numpy(np.bincount(example.target.ravel(), minlength=256)[: len(sets)])
        return target_weights(counts, rarity)

    def batches(self, recipe: FamilyRecipe, steps: range, *, beside: bool) -> Iterator[Batch]:
        as_they_come = beside or recipe.loader_workers == 0
        length = max(1, len(steps)) if as_they_come else BURST
        for start in range(0, len(steps), length):
            loader = DataLoader(
                StepBatches(self, recipe, steps[start : start + length]),
                batch_size=None,
                num_workers=recipe.loader_workers,
            )
            yield from loader if as_they_come else list(loader)


class StepBatches(Dataset[Batch]):
    """The batch of each of the given training steps."""

    def __init__(self, data: TrainingData, recipe: FamilyRecipe, steps: Sequence[int]) -> None:
        self.recipe, self.steps = recipe, steps
        filled = [(getattr(data, name), share) for name, share in recipe.shares if len(getattr(data, name))]
        total = sum(share for _, share in filled)
        if total == 0:
            raise ValueError(f"no pool that has data has a share, only {recipe.shares}: change the recipe")
        self.pools = [pool for pool, _ in filled]
        self.shares = [share / total for _, share in filled]

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.recipe.seed, self.steps[index]])
        crops = []
        for pool in rng.choice(len(self.pools), size=self.recipe.batch, p=self.shares):
            example = self.pools[pool][rng.integers(len(self.pools[pool]))]
            crops.append(
                augment(example, self.recipe.crop, self.recipe.augmentation, rng, self.recipe.oversampling)
            )
        images, clean, targets, soft = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
        return Batch(images, clean, targets, soft, float(rng.choice(self.recipe.scales)))
