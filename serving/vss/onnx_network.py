"""ONNX models of any design: what one must look like is in `docs/bundles.md`, and checked here at load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.bundle import BundleError

INPUT, OUTPUT = "frames", "logits"
PROBES = ((16, 16), (66, 94), (96, 160))
"""(height, width) that a model is tried at; 16 is half of the smallest frame that a camera may agree on."""
LARGEST_STRIDE = 64

Array = NDArray[np.float32]


class OnnxNetwork:
    """An ONNX model on the CPU, in float32 whatever the CPU has: its file says how it computes.

    Raises `BundleError` where the file is no such model.
    """

    device = "cpu"

    def __init__(self, path: Path, classes: int, threads: int = 1) -> None:
        self.classes, self.streams = classes, threads
        self.runs_on = f"CPU by onnxruntime with {threads} streams: float32"
        self._session = _open(path)
        frames = _check_input(path, self._session)
        _check_output(path, self._session)
        self._one_by_one = frames.shape[0] == 1
        self._path, self._strides = path, set(range(1, LARGEST_STRIDE + 1))
        for size in PROBES:
            self.try_size(*size)

    @property
    def stride(self) -> int:
        """The stride that explains the logits' size at all sizes that were tried."""
        return min(self._strides)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), uint8, to float32 logits (N, classes, ceil(H / stride), ceil(W / stride))."""
        pictures = images.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
        return torch.from_numpy(self._run(pictures.numpy()))

    def _run(self, images: Array) -> Array:
        batches = np.split(images, len(images)) if self._one_by_one else [images]
        logits = [self._session.run([OUTPUT], {INPUT: batch})[0] for batch in batches]
        return np.concatenate(logits).astype(np.float32, copy=False)

    def try_size(self, height: int, width: int) -> None:
        """Runs two frames of a size. Raises `BundleError` where what comes out is not as agreed."""
        frames = np.random.default_rng(0).random((2, 3, height, width), np.float32)
        try:
            logits = self._run(frames)
        except Exception as error:  # onnxruntime's errors share no base class but this one
            found = f"cannot run two frames of {width}x{height}"
            _refuse(self._path, found, "any even size from 16 on", error)
        _check_logits(self._path, logits, self.classes)
        rows, columns = logits.shape[-2:]
        self._strides = {s for s in self._strides if (-(-height // s), -(-width // s)) == (rows, columns)}
        if not self._strides:
            found = f"gives {columns}x{rows} logits for a frame of {width}x{height}"
            expected = f"sides divided by one stride of 1 to {LARGEST_STRIDE} and rounded up"
            _refuse(self._path, found, expected, "pad in the model, or resize its output")


def _open(path: Path) -> onnxruntime.InferenceSession:
    """Each thread that runs it computes alone: threads that share a frame wait for each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but this one
        _refuse(path, "cannot be loaded", "an ONNX model in one file", error)


def _check_input(path: Path, session: onnxruntime.InferenceSession) -> Any:
    """The input's description, if it is one that frames can be given to."""
    inputs = session.get_inputs()
    names = ", ".join(repr(i.name) for i in inputs)
    if [i.name for i in inputs] != [INPUT]:
        advice = f'export with input_names=["{INPUT}"]'
        _refuse(path, f"has the inputs {names or 'none'}", f"one, named {INPUT!r}", advice)
    frames = inputs[0]
    if frames.type != "tensor(float)":
        advice = "scale and convert inside the model"
        _refuse(path, f"takes {INPUT} as {frames.type}", "tensor(float), RGB from 0 to 1", advice)
    if len(frames.shape) != 4 or (isinstance(frames.shape[1], int) and frames.shape[1] != 3):
        _refuse(path, f"takes {INPUT} of shape {frames.shape}", "(N, 3, H, W)", "export it so")
    fixed = [side for side in frames.shape[2:] if isinstance(side, int)]
    if fixed:
        advice = "export with height and width as dynamic dimensions"
        _refuse(path, f"takes {INPUT} of shape {frames.shape}", "any height and width", advice)
    if isinstance(frames.shape[0], int) and frames.shape[0] != 1:
        advice = "export with a dynamic batch dimension, or with 1"
        _refuse(path, f"takes exactly {frames.shape[0]} frames", "any number, or one", advice)
    return frames


def _check_output(path: Path, session: onnxruntime.InferenceSession) -> None:
    outputs = {o.name: o.type for o in session.get_outputs()}
    names = ", ".join(repr(name) for name in outputs)
    if OUTPUT not in outputs:
        advice = f'export with output_names=["{OUTPUT}"]'
        _refuse(path, f"has the outputs {names}", f"one named {OUTPUT!r}", advice)
    if outputs[OUTPUT] not in ("tensor(float)", "tensor(float16)"):
        _refuse(path, f"gives {OUTPUT} as {outputs[OUTPUT]}", "floats", "leave the arg max out of the model")


def _check_logits(path: Path, logits: Array, classes: int) -> None:
    """Shape (2, classes, rows, columns) for two frames, and numbers that 16 bits hold."""
    if logits.ndim != 4:
        expected = f"(N, {classes}, rows, columns)"
        _refuse(path, f"gives {OUTPUT} of shape {logits.shape}", expected, "keep batch and classes as axes")
    if len(logits) != 2:
        _refuse(path, f"gives {len(logits)} results for two frames", "one a frame", "check its batch axis")
    if logits.shape[1] != classes:
        advice = "list the classes in the order of the model's outputs, background too if it has one"
        _refuse(path, f"gives {logits.shape[1]} classes", f"{classes}, as the bundle names them", advice)
    with np.errstate(over="ignore"):
        finite = np.isfinite(logits.astype(np.float16)).all()
    if not finite:
        advice = "give logits before softmax, without masked classes"
        _refuse(path, "gives logits that are not finite in 16 bits", "numbers within 65504", advice)


def _refuse(path: Path, found: str, expected: str, advice: object) -> NoReturn:
    raise BundleError(f"{path} {found}, expected {expected}: {advice} (docs/bundles.md)") from (
        advice if isinstance(advice, Exception) else None
    )
