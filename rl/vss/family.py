"""From data to five variants, in steps that a killed run goes on from (paper, 2.1.1).

A teacher that was pre-trained on ImageNet is fine-tuned on the labels and gives every frame soft labels.
Variant 0 is trained on both. Each pruned variant starts from the one before it, anneals its channel
masks, loses the masked channels and is fine-tuned, always with variant 0's soft labels beside the true
ones. Everything lies in one run directory; what is finished there is not done again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

from configs.ladder import VariantSpec
from rl.vss.acosp import MaskedNetwork, annealed_temperature
from rl.vss.batches import TrainingData
from rl.vss.datasets import (
    LabelledImage,
    labelled_clips,
    load_bdd100k,
    load_camvid,
    load_camvid_for_training,
    load_scene,
    load_streets,
    load_unlabelled,
)
from rl.vss.evaluate import FRAME_SIZE, VariantFigures, camvid_miou, measure_family
from rl.vss.recipe import FamilyRecipe, Schedule
from rl.vss.removal import keep_plan, remove_channels
from rl.vss.soft_labels import with_soft_labels
from rl.vss.teacher import TeacherNetwork
from rl.vss.trainer import Network, train
from serving.vss.classes import STREET_CLASSES
from serving.vss.pspnet import ChannelPlan, PSPNet, dense_channels
from serving.vss.weights import read_network, save_network

FIGURES = "figures.json"
SCENE_DRIVES, SCENE_FRAMES = 12, 8
VALIDATION_STRIDE = 4  # CamVid's validation run is 15 fps video: every fourth image says as much


Validation = Callable[[nn.Module], float]


class FamilyData:
    """The labelled images of a data directory, each set read when it is first needed."""

    def __init__(self, root: Path, recipe: FamilyRecipe) -> None:
        self.root, self.recipe = root, recipe

    @cached_property
    def training(self) -> TrainingData:
        shares, without = self.recipe.shares, self.recipe.validation_drives
        return TrainingData(
            camvid=load_camvid_for_training(self.root) if shares.camvid else (),
            streets=load_streets(self.root, "train", without) if shares.streets else (),
            bdd100k=load_bdd100k(self.root, "train") if shares.bdd100k else (),
            scene=load_scene(SCENE_DRIVES, SCENE_FRAMES) if shares.scene else (),
        )

    def clips(self) -> set[str]:
        """Names of the street clips that are trained on, with or without labels."""
        names: set[str] = set()
        if self.recipe.shares.streets:
            names |= labelled_clips(self.root, "train").keys()
        if self.recipe.teacher is not None:
            names |= {clip.stem for clip in (self.root / "clips" / "train").glob("*.mp4")}
        return names - set(self.recipe.validation_drives)

    def taught(self, teacher: nn.Module, frames_a_second: float, directory: Path) -> TrainingData:
        """Training images and unlabelled frames of the same drives, with the teacher's soft labels."""
        frames = load_unlabelled(self.root, "train", frames_a_second, self.recipe.validation_drives)
        pools = {"camvid": self.training.camvid, "streets": self.training.streets, "unlabelled": frames}
        taught = {
            name: with_soft_labels(pool, teacher, directory / name, f"soft labels: {name}")
            for name, pool in pools.items()
        }
        return replace(self.training, **taught)

    @cached_property
    def validation(self) -> list[LabelledImage]:
        return load_camvid(self.root, "val")[::VALIDATION_STRIDE]

    @cached_property
    def camvid_test(self) -> list[LabelledImage]:
        return load_camvid(self.root, "test")

    @cached_property
    def streets_test(self) -> list[LabelledImage]:
        return load_streets(self.root, "test")

    def validate(self, network: nn.Module) -> float:
        return camvid_miou(network, self.validation)


def weights_file(number: int | str) -> str:
    """Name of variant `number`'s weights, in run directories and bundles."""
    return f"variant{number}.safetensors"


def channel_plans(recipe: FamilyRecipe, specs: tuple[VariantSpec, ...]) -> list[dict[str, int]]:
    """The channels of every variant, each plan within the one before it."""
    plans = [dense_channels(recipe.architecture)]
    multiple = recipe.pruning.channel_multiple
    for spec in specs[1:]:
        plans.append(keep_plan(recipe.architecture, spec.sparsity, multiple, FRAME_SIZE, plans[-1]))
    return plans


def train_family(
    recipe: FamilyRecipe,
    specs: tuple[VariantSpec, ...],
    data: FamilyData,
    directory: Path,
    start: PSPNet | None = None,
) -> list[PSPNet]:
    """All variants of a family, float32 and in eval mode; variant 0 begins as `start` where alike."""
    plans = channel_plans(recipe, specs)
    training = taught_data(recipe, data, directory)
    networks: list[PSPNet] = []
    for number, plan in enumerate(plans):
        file = directory / weights_file(number)
        if not file.exists():
            run = TrainingRun(recipe, training, data.validate, directory / f"variant{number}")
            save_network(run.prune(networks[-1], plan, networks[0]) if number else run.dense(start), file)
        networks.append(read_network(file, recipe.architecture, plan))
    return networks


def taught_data(recipe: FamilyRecipe, data: FamilyData, directory: Path) -> TrainingData:
    """The training images, with soft labels if the recipe has a teacher: it is fine-tuned first."""
    if recipe.teacher is None:
        return data.training
    torch.manual_seed(recipe.seed)
    teacher = train(
        TeacherNetwork(recipe.teacher.backbone, recipe.teacher.width, len(STREET_CLASSES)),
        data.training,
        recipe,
        recipe.teacher.schedule,
        directory / "teacher",
        validate=data.validate,
        title="teacher",
    )
    return data.taught(teacher, recipe.teacher.frames_a_second, directory / "soft")


@dataclass(frozen=True)
class TrainingRun:
    """How one variant comes to be."""

    recipe: FamilyRecipe
    data: TrainingData
    validate: Validation
    directory: Path

    def dense(self, start: PSPNet | None) -> PSPNet:
        """Variant 0, from labels and the teacher's soft labels."""
        torch.manual_seed(self.recipe.seed)
        network = PSPNet(self.recipe.architecture)
        if start is not None:
            mine, theirs = network.state_dict(), start.state_dict()
            shared = {n: v for n, v in theirs.items() if n in mine and v.shape == mine[n].shape}
            network.load_state_dict(mine | shared)
        return self._train(network, self.recipe.dense, "dense", self.validate)

    def prune(self, larger: PSPNet, plan: ChannelPlan, dense: PSPNet) -> PSPNet:
        """A network with the channels of `plan`, all of them in `larger`, distilled from `dense`."""
        pruning = self.recipe.pruning
        masked = MaskedNetwork(copy.deepcopy(larger), plan)

        def harden(step: int) -> None:
            masked.set_temperature(annealed_temperature(step, pruning.anneal.steps, pruning.temperature))

        annealed = self._train(masked, pruning.anneal, "anneal", teacher=dense, before_step=harden)
        smaller = remove_channels(annealed.network, annealed.kept_channels())
        return self._train(smaller, pruning.finetune, "finetune", self.validate, teacher=dense)

    def _train(
        self,
        network: Network,
        schedule: Schedule,
        stage: str,
        validate: Validation | None = None,
        *,
        teacher: nn.Module | None = None,
        before_step: Callable[[int], None] | None = None,
    ) -> Network:
        return train(
            network,
            self.data,
            self.recipe,
            schedule,
            self.directory / stage,
            teacher=teacher,
            before_step=before_step,
            validate=validate,
            title=f"{self.directory.name}: {stage}",
        )


def measured(
    networks: list[PSPNet], specs: tuple[VariantSpec, ...], data: FamilyData, directory: Path
) -> list[VariantFigures]:
    """The figures of the finished family; measured again only when weights are newer than the figures."""
    file, table = directory / FIGURES, TypeAdapter(list[VariantFigures])
    newest = max(path.stat().st_mtime for path in directory.glob(weights_file("*")))
    if file.exists() and file.stat().st_mtime >= newest:
        return table.validate_json(file.read_bytes())
    figures = measure_family(networks, specs, data.camvid_test, data.streets_test)
    file.write_bytes(table.dump_json(figures, indent=1))
    return figures
