"""A trained network as an ONNX file for cameras, run once beside torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn


def save_onnx(
    module: nn.Module, example: NDArray[np.generic], name: str, outputs: list[str], path: Path
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes a module with one input; gives the first output for the example, ONNX Runtime's and torch's."""
    given = torch.from_numpy(example)
    program = torch.onnx.export(
        module.eval(),
        (given,),
        input_names=[name],
        output_names=outputs,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    forget_origins(model)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(outputs[:1], {name: example})[0]
    with torch.inference_mode():
        expected = module(given)
    first = expected[0] if isinstance(expected, tuple) else expected
    return found, first.numpy()


def forget_origins(model: onnx.ModelProto) -> None:
    """Takes out where in whose files each node comes from: paths of the machine that exported it, and most of
    the file."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
