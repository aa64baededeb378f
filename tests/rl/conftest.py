"""Small architectures and made-up training data, so that everything here trains in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import configs
from clients.codec import CodecFlags, encode_segment
from configs.bundle import Bundle, write_manifest
from configs.ladder import CompressionSetting
from rl.vss.batches import TrainingData
from rl.vss.cost import count_flops
from rl.vss.datasets import IGNORE, LabelledImage
from rl.vss.recipe import FamilyRecipe, load_recipe
from serving.vss.architecture import Architecture, ResNet, dense_channels
from serving.vss.classes import STREET_CLASSES
from serving.vss.pspnet import PSPNet
from serving.vss.weights import save_network

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


@pytest.fixture
def small_recipe(lite: FamilyRecipe, tiny: Architecture) -> FamilyRecipe:
    """The lite recipe on a tiny network, two small crops a step, made in this process."""
    changes = {"architecture": tiny, "crop": (32, 64), "oversampling": 1, "batch": 2}
    return lite.model_copy(update={**changes, "compile": False, "loader_workers": 0})


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


@pytest.fixture
def bundle(tmp_path: Path, tiny: Architecture, lived_in: Callable[[PSPNet], PSPNet]) -> Bundle:
    """Two variants, two scales and one QP: four configurations."""
    directory = tmp_path / "bundle"
    directory.mkdir()
    torch.manual_seed(0)
    narrow = dense_channels(tiny) | {"head": 8}
    variants = []
    for number, channels in enumerate((dense_channels(tiny), narrow)):
        save_network(lived_in(PSPNet(tiny, channels)), directory / f"{number}.safetensors")
        variants.append(
            {
                "name": ("wide", "narrow")[number],
                "sparsity": number / 2,
                "weights": f"{number}.safetensors",
                "channels": channels,
                "parameters": 1000,
                "flops": [count_flops(tiny, channels, size) for size in ((1280, 720), (640, 360))],
            }
        )
    names = [{"name": variant["name"], "sparsity": variant["sparsity"]} for variant in variants]
    write_manifest(
        directory,
        {
            "name": "tiny",
            "frame": (1280, 720),
            "ladder": {"scales": (1.0, 0.5), "qps": (24,), "variants": names},
            "classes": STREET_CLASSES,
            "codec": CodecFlags().model_dump(),
            "architecture": tiny.model_dump(),
            "variants": variants,
        },
    )
    return Bundle.load(directory)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One video of two segments at two frames a second."""
    folder = tmp_path / "clips"
    folder.mkdir()
    frames = [np.random.default_rng(n).integers(0, 256, (72, 128, 3)).astype(np.uint8) for n in range(4)]
    (folder / "noise.mp4").write_bytes(encode_segment(frames, CompressionSetting(1.0, 30), 2))
    return folder
