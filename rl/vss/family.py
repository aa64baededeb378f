"""From data to five variants, in steps that a killed run goes on from (paper, 2.1.1).

Variant 0 starts from ImageNet's weights. After a first pass on labels alone it gives every frame soft
labels, also those of clips without any, and goes on with both. Each pruned variant starts from the one
before it, anneals its channel masks, loses the masked channels and is fine-tuned, always towards what
variant 0 says. Everything lies in one run directory; what is finished there is not done again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from configs.bundle import sha256
from configs.ladder import VariantSpec
from rl.vss.acosp import MaskedNetwork, annealed_temperature
from rl.vss.annotations import annotated_clips, load_annotated, static_clips
from rl.vss.batches import BatchSource, TrainingData
from rl.vss.crop_store import stored_crops
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
from rl.vss.evaluate import FRAME_SIZE, camvid_miou
from rl.vss.imagenet import load_imagenet
from rl.vss.mutual import learn_mutually
from rl.vss.recipe import FamilyRecipe, Losses, Schedule
from rl.vss.removal import keep_plan, remove_channels, without_blocks
from rl.vss.soft_labels import with_soft_labels
from rl.vss.trainer import Network, train
from rl.vss.widening import widened
from serving.vss.architecture import ChannelPlan, dense_channels
from serving.vss.family import ready
from serving.vss.hardware import REFERENCE
from serving.vss.pspnet import PSPNet
from serving.vss.weights import read_network, save_network

SCENE_DRIVES, SCENE_FRAMES = 12, 8
ANNOTATED_A_SECOND = 1.0  # frames of static cameras
VALIDATION_STRIDE = 4  # CamVid's validation run is 15 fps video: every fourth image says as much


Validation = Callable[[PSPNet], float]


class FamilyData:
    """The labelled images of a data directory, each set read when it is first needed."""

    def __init__(self, root: Path, recipe: FamilyRecipe) -> None:
        self.root, self.recipe = root, recipe

    @cached_property
    def training(self) -> TrainingData:
        shares, without = self.recipe.shares, self.recipe.validation_drives
        drawn = annotated_clips() if shares.annotated else []
        return TrainingData(
            camvid=load_camvid_for_training(self.root) if shares.camvid else (),
            streets=load_streets(self.root, "train", {*without, *drawn}) if shares.streets else (),
            annotated=load_annotated(self.root, "train", ANNOTATED_A_SECOND, without) if drawn else (),
            bdd100k=load_bdd100k(self.root, "train") if shares.bdd100k else (),
            scene=load_scene(SCENE_DRIVES, SCENE_FRAMES) if shares.scene else (),
        )

    def clips(self) -> set[str]:
        """Names of the street clips that are trained on, with or without labels."""
        names: set[str] = set()
        if self.recipe.shares.streets:
            names |= labelled_clips(self.root, "train").keys()
        if self.recipe.shares.annotated or self.recipe.shares.unlabelled:
            names |= {clip.stem for clip in (self.root / "clips" / "train").glob("*.mp4")}
        return names - set(self.recipe.validation_drives)

    def taught(self, teacher: PSPNet, directory: Path) -> TrainingData:
        """Training images and unlabelled frames of the same drives, with the teacher's soft labels; those
        that were drawn by hand stay as they are."""
        data = self.with_unlabelled
        pools = {"camvid": data.camvid, "streets": data.streets, "unlabelled": data.unlabelled}
        taught = {
            name: with_soft_labels(pool, teacher, directory / name, f"soft labels: {name}")
            for name, pool in pools.items()
        }
        return replace(data, **taught)

    @cached_property
    def with_unlabelled(self) -> TrainingData:
        """Training images, and frames of the same drives but those that were drawn by hand altogether."""
        recipe = self.recipe
        if not recipe.shares.unlabelled:
            return self.training
        drawn = static_clips() if recipe.shares.annotated else []
        rate = recipe.teacher.frames_a_second if recipe.teacher else 1.0
        frames = load_unlabelled(self.root, "train", rate, {*recipe.validation_drives, *drawn})
        return replace(self.training, unlabelled=frames)

    @cached_property
    def validation(self) -> list[LabelledImage]:
        return load_camvid(self.root, "val")[::VALIDATION_STRIDE]

    @cached_property
    def camvid_test(self) -> list[LabelledImage]:
        return load_camvid(self.root, "test")

    @cached_property
    def streets_test(self) -> list[LabelledImage]:
        return load_streets(self.root, "test")

    def validate(self, network: PSPNet) -> float:
        copied = copy.deepcopy(network).cpu()
        return camvid_miou(ready(copied, REFERENCE, torch.get_num_threads()), self.validation)


def weights_file(number: int | str) -> str:
    """Name of variant `number`'s weights, in run directories and bundles."""
    return f"variant{number}.safetensors"


def channel_plans(recipe: FamilyRecipe, specs: tuple[VariantSpec, ...]) -> list[dict[str, int]]:
    """The channels of every variant, each plan within the one before it."""
    plans, pruning = [dense_channels(recipe.architecture)], recipe.pruning
    for number, spec in enumerate(specs[1:], 1):
        plans.append(
            keep_plan(
                recipe.architecture,
                spec.sparsity,
                pruning.channel_multiple,
                FRAME_SIZE,
                plans[-1],
                pruning.cut(number),
            )
        )
    return plans


def train_family(
    recipe: FamilyRecipe,
    specs: tuple[VariantSpec, ...],
    data: FamilyData,
    directory: Path,
    start: PSPNet | None = None,
    kept: Sequence[PSPNet] = (),
) -> list[PSPNet]:
    """All variants of a family, float32 and in eval mode.

    Variant 0 goes on from `start`, or is the first of `kept`: then only the others are trained, and those
    that are in `kept` too, with the channels that the recipe plans, are not pruned anew but learn on.
    At the end all learn from one another, if the recipe says so. Raises `ValueError` for a `start` that is no
    narrower version of the recipe's architecture, and for a variant 0 of other channels than the recipe's.
    """
    plans = channel_plans(recipe, specs)
    directory.mkdir(parents=True, exist_ok=True)
    going_on = [
        network.architecture == recipe.architecture and network.channels == plan
        for network, plan in zip(kept, plans, strict=False)
    ]
    if going_on and not going_on[0]:
        raise ValueError("the variant 0 to keep is not what the recipe makes: expected its architecture")
    if kept:
        save_network(kept[0], directory / weights_file(0))
    if not (directory / weights_file(0)).exists():
        save_network(_train_dense(recipe, data, directory, start), directory / weights_file(0))
    networks = [read_network(directory / weights_file(0), recipe.architecture, plans[0])]
    crops: BatchSource | None = None
    for number, plan in enumerate(plans[1:], 1):
        file = directory / weights_file(number)
        if not file.exists():
            crops = crops or _crops_for_pruning(recipe, data, networks[0], directory)
            run = TrainingRun(recipe, crops, data.validate, directory / f"variant{number}")
            if number < len(kept) and going_on[number]:
                further = recipe.pruning.refine.get(number)
                network = run.go_on(kept[number], further) if further else kept[number]
            else:
                network = run.prune(networks[-1], plan)
            save_network(network, file)
        networks.append(read_network(file, recipe.architecture, plan))
    if recipe.mutual is None:
        return networks
    crops = crops or _crops_for_pruning(recipe, data, networks[0], directory)
    before, together = copy.deepcopy(networks[0]), directory / "mutual"
    networks = learn_mutually(networks, recipe, recipe.mutual, crops, together, data.validate)
    if recipe.mutual.after:
        save_network(networks[0], together / weights_file(0))
        crops = _crops_for_pruning(recipe, data, networks[0], together)
    for number, schedule in recipe.mutual.after.items():
        run = TrainingRun(recipe, crops, data.validate, together / f"variant{number}")
        networks[number] = run.go_on(networks[number], schedule)
    _remember(networks[0], before, recipe.mutual.remembered)
    return networks


def _remember(network: PSPNet, before: PSPNet, share: float) -> None:
    """Moves weights and statistics this share of the way back to what they were. Between both, more of what
    a network knew of true labels is kept than of what it learnt since is lost (Wortsman et al. 2022)."""
    earlier = before.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(earlier[name], share)


def _train_dense(recipe: FamilyRecipe, data: FamilyData, directory: Path, start: PSPNet | None) -> PSPNet:
    """Variant 0: from labels, then, where the recipe has a teacher, from its own soft labels too."""
    begun, training = begin(recipe, start), data.training
    if recipe.teacher is not None:
        run = TrainingRun(recipe, training, data.validate, directory / "teacher")
        begun = run.dense(begun, recipe.teacher.schedule)
        training = data.taught(begun, directory / "soft")
    return TrainingRun(recipe, training, data.validate, directory / "variant0").dense(begun, recipe.dense)


def _crops_for_pruning(recipe: FamilyRecipe, data: FamilyData, dense: PSPNet, directory: Path) -> BatchSource:
    """Crops as they are trained on, never brought to a frame's working size: what variant 0 says of a crop
    must be what it says at the size that the others see it at."""
    unframed = PSPNet(dense.architecture.model_copy(update={"pixels": None})).eval()
    unframed.load_state_dict(dense.state_dict())
    teacher = ready(unframed, REFERENCE, torch.get_num_threads(), recipe.certainty_of(0))
    teacher_id = sha256(directory / weights_file(0))
    return stored_crops(lambda: data.with_unlabelled, recipe, teacher, teacher_id, directory / "crops")


def begin(recipe: FamilyRecipe, start: PSPNet | None) -> PSPNet:
    """Variant 0 before any training: `start`, widened where the recipe is wider, or from ImageNet, if the
    recipe says so."""
    torch.manual_seed(recipe.seed)
    if start is not None:
        return widened(start, recipe.architecture)
    network = PSPNet(recipe.architecture)
    if recipe.pretrained:
        load_imagenet(network)
    return network


@dataclass(frozen=True)
class TrainingRun:
    """How one variant comes to be."""

    recipe: FamilyRecipe
    data: BatchSource
    validate: Validation
    directory: Path

    def dense(self, start: PSPNet, schedule: Schedule) -> PSPNet:
        """Variant 0, going on from `start`, from labels and the soft labels that the images have."""
        return self._train(copy.deepcopy(start), schedule, self.recipe.losses, "dense", self.validate)

    def prune(self, larger: PSPNet, plan: ChannelPlan) -> PSPNet:
        """A network with the channels of `plan`, all of them in `larger`."""
        pruning = self.recipe.pruning
        masked = MaskedNetwork(without_blocks(copy.deepcopy(larger), plan), plan)

        def harden(step: int) -> None:
            masked.set_temperature(annealed_temperature(step, pruning.anneal.steps, pruning.temperature))

        annealed = self._train(masked, pruning.anneal, pruning.losses, "anneal", before_step=harden)
        return self.finetune(remove_channels(annealed.network, annealed.kept_channels()))

    def finetune(self, pruned: PSPNet) -> PSPNet:
        """A pruned network, trained with the channels that it has."""
        pruning = self.recipe.pruning
        return self._train(copy.deepcopy(pruned), pruning.finetune, pruning.losses, "finetune", self.validate)

    def go_on(self, pruned: PSPNet, schedule: Schedule) -> PSPNet:
        """A variant that was pruned and trained before."""
        network = copy.deepcopy(pruned)
        return self._train(network, schedule, self.recipe.pruning.losses, "refine", self.validate)

    def _train(
        self,
        network: Network,
        schedule: Schedule,
        losses: Losses,
        stage: str,
        validate: Callable[[Network], float] | None = None,
        *,
        before_step: Callable[[int], None] | None = None,
    ) -> Network:
        return train(
            network,
            self.data,
            self.recipe,
            schedule,
            losses,
            self.directory / stage,
            before_step=before_step,
            validate=validate,
            title=f"{self.directory.name}: {stage}",
        )
