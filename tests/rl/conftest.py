"""Small architectures and made-up training data, so that everything here trains in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import configs
from rl.vss.batches import TrainingData
from rl.vss.datasets import IGNORE, LabelledImage
from rl.vss.recipe import FamilyRecipe, load_recipe
from serving.vss.architecture import Architecture, ResNet
from serving.vss.pspnet import PSPNet

RECIPES = Path(configs.__file__).with_name("recipes")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny networks are faster on one thread, and do not fight with whatever else the machine does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def lite() -> FamilyRecipe:
    return load_recipe(RECIPES / "lite.yaml")


@pytest.fixture(scope="session")
def paper() -> FamilyRecipe:
    return load_recipe(RECIPES / "paper.yaml")


@pytest.fixture(scope="session")
def made_up_data() -> TrainingData:
    """Four images whose colour tells their class: targets of both kinds and some ignored pixels."""
    rng = np.random.default_rng(0)

    def example(name: str, offset: int) -> LabelledImage:
        target = rng.integers(0, 11, (12, 16)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        image = np.stack([target * 20, target * 10, 255 - target * 20], axis=-1).astype(np.uint8)
        target = target + np.uint8(offset)
        target[:8] = IGNORE
        return LabelledImage(name, image, target)

    return TrainingData(
        camvid=[example("a", 19), example("b", 19)], streets=[example("c_0", 0), example("c_500", 0)]
    )


@pytest.fixture(scope="session")
def tiny() -> Architecture:
    return Architecture(
        backbone=ResNet(
            block="basic",
            stem=(8, 8),
            stem_pool=False,
            widths=(8, 12, 16, 16),
            depths=(1, 1, 1, 1),
            output_stride=16,
        ),
        pyramid=8,
        head=16,
        classes=19,
    )


@pytest.fixture(scope="session")
def lived_in() -> Callable[[PSPNet], PSPNet]:
    """Gives batch norms the uneven statistics of a trained network; in eval mode."""

    def change(network: PSPNet) -> PSPNet:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.3)
                nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
        return network.eval()

    return change
