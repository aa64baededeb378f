"""From data to five variants, in steps that a killed run goes on from (paper, 2.1.1).

Variant 0 is trained on labels. Each pruned variant starts from the one before it, anneals its channel
masks, loses the masked channels and is fine-tuned, always with variant 0's soft labels beside the true
ones. Everything lies in one run directory; what is finished there is not done again.
"""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

from configs.ladder import VariantSpec
from rl.vss.acosp import MaskedNetwork, annealed_temperature
from rl.vss.datasets import LabelledImage, load_camvid, load_camvid_for_training, load_streets
from rl.vss.evaluate import FRAME_SIZE, VariantFigures, camvid_miou, measure_family
from rl.vss.recipe import FamilyRecipe
from rl.vss.removal import keep_plan, remove_channels
from rl.vss.trainer import TrainingData, train
from serving.vss.pspnet import ChannelPlan, PSPNet, dense_channels
from serving.vss.weights import read_network, save_network

FIGURES = "figures.json"
REFINED = "refined"
VALIDATION_STRIDE = 4  # CamVid's validation run is 15 fps video: every fourth image says as much


class FamilyData:
    """The labelled images of a data directory, each set read when it is first needed."""

    def __init__(self, root: Path, recipe: FamilyRecipe) -> None:
        self.root, self.recipe = root, recipe

    @cached_property
    def training(self) -> TrainingData:
        streets = load_streets(self.root, "train", self.recipe.validation_drives)
        return TrainingData(load_camvid_for_training(self.root), streets)

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
    recipe: FamilyRecipe, specs: tuple[VariantSpec, ...], data: FamilyData, directory: Path
) -> list[PSPNet]:
    """All variants of a family, float32 and in eval mode."""
    plans = channel_plans(recipe, specs)
    networks: list[PSPNet] = []
    for number, plan in enumerate(plans):
        file = directory / weights_file(number)
        if not file.exists():
            if number == 0:
                network = train_dense(recipe, data, directory / "teacher")
            else:
                network = prune(networks[-1], plan, networks[0], recipe, data, directory / f"variant{number}")
            save_network(network, file)
        networks.append(read_network(file, recipe.architecture, plan))
    return networks if recipe.refinement is None else refine(networks, recipe, data, directory / REFINED)


def train_dense(recipe: FamilyRecipe, data: FamilyData, directory: Path) -> PSPNet:
    """Variant 0, the teacher of all others."""
    torch.manual_seed(recipe.seed)
    network = PSPNet(recipe.architecture)
    return train(
        network, data.training, recipe, recipe.teacher, directory, validate=data.validate, title="variant 0"
    )


def prune(
    larger: PSPNet,
    plan: ChannelPlan,
    teacher: PSPNet,
    recipe: FamilyRecipe,
    data: FamilyData,
    directory: Path,
) -> PSPNet:
    """A network with the channels of `plan`, which lie within those of `larger`."""
    steps, bounds = recipe.pruning.anneal.steps, recipe.pruning.temperature
    masked = MaskedNetwork(copy.deepcopy(larger), plan)
    annealed = train(
        masked,
        data.training,
        recipe,
        recipe.pruning.anneal,
        directory / "anneal",
        teacher=teacher,
        before_step=lambda step: masked.set_temperature(annealed_temperature(step, steps, bounds)),
        title=f"{directory.name}: masks",
    )
    return train(
        remove_channels(annealed.network, annealed.kept_channels()),
        data.training,
        recipe,
        recipe.pruning.finetune,
        directory / "finetune",
        teacher=teacher,
        validate=data.validate,
        title=f"{directory.name}: fine-tuning",
    )


def refine(networks: list[PSPNet], recipe: FamilyRecipe, data: FamilyData, directory: Path) -> list[PSPNet]:
    """The last stage: variant 0 on labels alone, then the others with its refined soft labels beside."""
    refinement = recipe.refinement
    assert refinement is not None
    milder = recipe.model_copy(update={"camvid_share": refinement.camvid_share, "rarity": refinement.rarity})
    refined: list[PSPNet] = []
    for number, network in enumerate(networks):
        file = directory / weights_file(number)
        if not file.exists():
            better = train(
                copy.deepcopy(network),
                data.training,
                milder,
                refinement.pruned if refined else refinement.dense,
                directory / f"variant{number}",
                teacher=refined[0] if refined else None,
                validate=data.validate,
                title=f"variant{number}: refining",
            )
            save_network(better, file)
        refined.append(read_network(file, recipe.architecture, network.channels))
    return refined


def measured(
    networks: list[PSPNet], specs: tuple[VariantSpec, ...], data: FamilyData, directory: Path
) -> list[VariantFigures]:
    """The figures of the finished family; measured again only when weights are newer than the figures."""
    file, table = directory / FIGURES, TypeAdapter(list[VariantFigures])
    weights = [*directory.glob(weights_file("*")), *(directory / REFINED).glob(weights_file("*"))]
    newest = max(path.stat().st_mtime for path in weights)
    if file.exists() and file.stat().st_mtime >= newest:
        return table.validate_json(file.read_bytes())
    figures = measure_family(networks, specs, data.camvid_test, data.streets_test)
    file.write_bytes(table.dump_json(figures, indent=1))
    return figures
