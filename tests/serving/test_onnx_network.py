"""Models of others: run as they are, or refused with a sentence that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from clients.protocol import MaskMode
from configs.bundle import BundleError
from serving.vss.engine import SHARE_STRIDE, SegmentationEngine
from serving.vss.onnx_network import OnnxNetwork
from tests.onnx_models import CLASSES, FLOAT, weights, write_model


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int | str], OnnxNetwork]:
    """By stride, 1 to 5, and batch: one frame at a time, or any number at once."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for stride in range(1, 6):
        for batch in (1, "n"):
            path = write_model(folder / "model.onnx", stride=stride, shape=(batch, 3, "h", "w"))
            made[stride, batch] = OnnxNetwork(path, len(CLASSES))
    return made


@given(
    stride=st.integers(1, 5),
    batch=st.sampled_from([1, "n"]),
    frames=st.integers(1, 3),
    height=st.integers(16, 90),
    width=st.integers(16, 90),
)
@settings(max_examples=40)
def test_any_batch_of_any_size_gives_what_the_model_computes(
    networks: dict[tuple[int, int | str], OnnxNetwork],
    stride: int,
    batch: int | str,
    frames: int,
    height: int,
    width: int,
) -> None:
    network = networks[stride, batch]
    assert network.stride == stride
    pictures = torch.randint(256, (frames, height, width, 3), dtype=torch.uint8)
    images = pictures.permute(0, 3, 1, 2)  # in memory as the engine has them
    expected = F.conv2d(images / 255, torch.from_numpy(weights(len(CLASSES))), stride=stride, padding=1)
    logits = network(images)
    assert logits.shape == (frames, len(CLASSES), -(-height // stride), -(-width // stride))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masks", ["none", "last", "all"])
def test_the_engine_runs_it_like_any_network(
    networks: dict[tuple[int, int | str], OnnxNetwork], masks: MaskMode
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3)).astype(np.uint8)
    engine = SegmentationEngine(networks[4, "n"], batch_frames=2)
    prediction = engine.run(frames, masks)
    stride = 1 if masks == "all" else SHARE_STRIDE
    assert prediction.class_pixels.shape == (len(CLASSES),)
    assert prediction.class_pixels.sum() == 3 * (48 // stride) * (64 // stride)
    assert prediction.logits.shape == (len(CLASSES), 12, 16)


def test_it_has_a_stream_for_each_thread_it_is_given(tmp_path: Path) -> None:
    network = OnnxNetwork(write_model(tmp_path / "model.onnx"), len(CLASSES), threads=3)
    assert network.streams == 3
    assert "3 streams" in network.runs_on


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "input name": ({"names": ("image", "logits")}, r"inputs 'image', expected one, named 'frames'"),
    "output name": ({"names": ("frames", "out")}, r"outputs 'out', expected one named 'logits'"),
    "doubles": (
        {"kind": TensorProto.DOUBLE, "first": ("Cast", [], {"to": FLOAT})},
        r"tensor\(double\), expected tensor\(float\)",
    ),
    "no batch": ({"shape": (3, "h", "w"), "first": ("Unsqueeze", ["zero"], {})}, r"expected \(N, 3, H, W\)"),
    "one channel": ({"shape": ("n", 1, "h", "w")}, r"expected \(N, 3, H, W\)"),
    "one size": ({"shape": ("n", 3, 90, 160)}, r"expected any height and width: .*dynamic"),
    "four frames": ({"shape": (4, 3, "h", "w")}, r"exactly 4 frames"),
    "classes": ({"classes": 19}, r"gives 19 classes, expected 3"),
    "rank": ({"last": ("Flatten", {"axis": 2})}, r"of shape \(6, 16\), expected \(N, 3, rows, columns\)"),
    "labels": ({"last": ("ArgMax", {"axis": 1})}, r"tensor\(int64\), expected floats: .*arg max"),
    "batch lost": ({"last": ("ReduceMax", {"keepdims": 1})}, r"gives 1 results for two frames"),
    "unpadded": ({"pad": 0, "stride": 1}, r"gives 14x14 logits for a frame of 16x16, expected sides divided"),
    "rounded down": ({"pad": 0, "stride": 2}, r"logits for a frame of \d+x\d+, expected sides divided"),
    "infinite": ({"gain": 1e7}, r"not finite in 16 bits"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_breaks_the_interface_is_refused_with_what_to_do(tmp_path: Path, case: str) -> None:
    changes, message = BAD[case]
    path = write_model(tmp_path / "model.onnx", **changes)
    with pytest.raises(BundleError, match=message) as refusal:
        OnnxNetwork(path, len(CLASSES))
    assert str(path) in str(refusal.value)
    assert "docs/bundles.md" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match="cannot be loaded, expected an ONNX model in one file"):
        OnnxNetwork(path, 3)
