"""Tiny ONNX models and families of them, made without torch, so that tests of what reads them are quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
CLASSES = ("ground", "thing", "sky")


def weights(classes: int, seed: int = 0) -> np.ndarray:
    """(classes, 3, 3, 3) of the one convolution."""
    return np.random.default_rng(seed).normal(0, 1, (classes, 3, 3, 3)).astype(np.float32)


def write_model(
    path: Path,
    *,
    classes: int = len(CLASSES),
    stride: int = 4,
    names: tuple[str, str] = ("frames", "logits"),
    shape: tuple[Any, ...] = ("n", 3, "h", "w"),
    gain: float = 1.0,
    first: tuple[str, list[str], dict[str, Any]] = ("Identity", [], {}),
    last: tuple[str, dict[str, Any]] = ("Identity", {}),
    pad: int = 1,
    kind: int = FLOAT,
) -> Path:
    """A 3x3 convolution from frames to logits, with an operation before it (which may take the tensor
    "zero") and one after it."""
    given, result = names
    nodes = [
        helper.make_node(first[0], [given, *first[1]], ["x"], **first[2]),
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[stride] * 2, pads=[pad] * 4),
        helper.make_node(last[0], ["c"], [result], **last[1]),
    ]
    zero = [numpy_helper.from_array(np.zeros(1, np.int64), "zero")] if first[1] else []
    integers = last[0] == "ArgMax"
    graph = helper.make_graph(
        nodes,
        "family",
        [helper.make_tensor_value_info(given, kind, shape)],
        [helper.make_tensor_value_info(result, TensorProto.INT64 if integers else FLOAT, None)],
        [numpy_helper.from_array(np.float32(gain) * weights(classes), "w"), *zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    return path


def write_family(directory: Path, **changes: Any) -> Path:
    """Two models and the YAML that describes them; `changes` replace what the YAML says."""
    for number, stride in enumerate((2, 4)):
        write_model(directory / f"model{number}.onnx", stride=stride)
    content = {
        "name": "blocks",
        "classes": list(CLASSES),
        "frame": [320, 180],
        "scales": [1.0, 0.5],
        "qps": [24, 30],
        "variants": [
            {"name": "large", "model": "model0.onnx", "gflops": 2.0},
            {"name": "small", "model": "model1.onnx", "gflops": 0.5},
        ],
    }
    path = directory / "family.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path
