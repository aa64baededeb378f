"""A tiny family, sealed as a bundle, and a folder with one short video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from clients.codec import CodecFlags, encode_segment
from configs.bundle import Bundle, write_manifest
from configs.ladder import CompressionSetting
from rl.vss.cost import count_flops
from serving.vss.architecture import Architecture, dense_channels
from serving.vss.classes import STREET_CLASSES
from serving.vss.pspnet import PSPNet
from serving.vss.weights import save_network


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
