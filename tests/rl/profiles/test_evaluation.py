"""`penance-evaluate family` from a folder of videos to tables, file and pictures, with a tiny family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from clients.codec import CodecFlags, encode_segment
from configs.bundle import Bundle, write_manifest
from configs.ladder import CompressionSetting
from rl.cli import evaluate
from rl.profiles.choice import BANDWIDTHS
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


def test_one_command_measures_a_folder_of_videos(
    tmp_path: Path, bundle: Bundle, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl.vss.evaluate.WARM_UPS", 0)
    monkeypatch.setattr("rl.vss.evaluate.REPEATS", 1)
    file, pictures = tmp_path / "family.json", tmp_path / "figures"
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(clips), "--segments", "1"]
    command += ["--frame-stride", "2", "--json", str(file), "--figures", str(pictures)]
    result = CliRunner().invoke(evaluate, command, env={"PENANCE_DATA": None})
    assert result.exit_code == 0, result.output
    assert "Optimal uses" in result.output
    report = json.loads(file.read_text())
    assert report["bundle"] == bundle.id
    assert report["camvid_miou"] == [None, None]
    assert len(report["gflops_720p"]) == len(report["ms_frame"]) == 2
    assert [(row["scale"], row["qp"], row["variant"]) for row in report["ladder"]] == [
        (1.0, 24, 0),
        (1.0, 24, 1),
        (0.5, 24, 0),
        (0.5, 24, 1),
    ]
    assert report["ladder"][0]["agreement"] == 1
    assert report["optimal"]["configurations"] >= 1
    assert 0 <= report["best_static_failure"] <= 1
    assert len(report["bandwidths"]) == len(BANDWIDTHS)
    assert report["clips"][0]["native_size"] == [128, 72]
    for name in ("ladder.png", "pareto.png", "classes.png", "noise.jpg"):
        assert Image.open(pictures / name).size[0] > 200


def test_a_folder_without_videos_is_refused_in_one_line(tmp_path: Path, bundle: Bundle) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(empty)]
    result = CliRunner().invoke(evaluate, command, env={"PENANCE_DATA": None})
    assert result.exit_code == 2
    assert "no video" in " ".join(result.output.replace("│", " ").split())  # however the box breaks lines
