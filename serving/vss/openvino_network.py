"""Our own networks on a CPU: OpenVINO, which takes half of PyTorch's time for them.

On two cores with AVX512-BF16, a 1280x720 frame takes variant 0 of the lite family 26 ms in float32 and 15 ms
in bfloat16, where PyTorch takes 55 and 28: convolution, activation and addition are one kernel here.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from queue import SimpleQueue
from threading import Lock

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from openvino.preprocess import PrePostProcessor
from torch import Tensor, nn

from serving.vss.certainty import without_doubtful
from serving.vss.folding import fold_batch_norms
from serving.vss.framing import framed
from serving.vss.hardware import Hardware
from serving.vss.pspnet import PSPNet

KEPT_SHAPES = 12
"""Frame shapes that a network is kept compiled for, the one that was used longest ago leaving first.
Compiling takes half a second; a network for any shape would take up to three times as long a frame."""

Shape = tuple[int, ...]


class OpenVinoNetwork:
    """A PSPNet as the engine runs it. Takes the network over: it is folded in place.

    Each thread is a stream of its own, with frames of its own: threads that share a frame wait for each other
    at every layer, and wait long where something else has the processor.
    """

    device = "cpu"

    def __init__(self, network: PSPNet, hardware: Hardware, threads: int, certainty: float = 0.0) -> None:
        self.classes, self.streams = network.architecture.classes, threads
        self.runs_on = f"OpenVINO with {threads} streams on {hardware.reason}"
        self._pixels = network.architecture.pixels
        self._network = _Served(fold_batch_norms(network).requires_grad_(False), certainty)
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if hardware.dtype == torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "ENABLE_CPU_PINNING": False,  # replicas share cores, and each would pin itself to the first ones
        }
        self._core = openvino.Core()
        self._compiled: OrderedDict[Shape, _Compiled] = OrderedDict()
        self._compiling = Lock()

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W), uint8, to float32 logits, whatever it computes in."""
        frames = framed(images, self._pixels).permute(0, 2, 3, 1).contiguous().numpy()
        return self._compiled_for(frames.shape).run(frames)

    def _compiled_for(self, shape: Shape) -> _Compiled:
        """What segments frames of this shape."""
        with self._compiling:
            if shape not in self._compiled:
                model = self._core.compile_model(_converted(self._network, shape), "CPU", self._options)
                self._compiled[shape] = _Compiled(model, self.streams)
            self._compiled.move_to_end(shape)
            if len(self._compiled) > KEPT_SHAPES:
                self._compiled.popitem(last=False)
            return self._compiled[shape]


class _Compiled:
    """A network for frames of one shape; as many threads may run it at once as it has streams."""

    def __init__(self, model: openvino.CompiledModel, streams: int) -> None:
        self._shape = tuple(model.output(0).shape)
        self._requests: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(streams):
            self._requests.put(model.create_infer_request())

    def run(self, frames: NDArray[np.uint8]) -> Tensor:
        logits, request = torch.empty(self._shape), self._requests.get()
        try:
            request.set_input_tensor(openvino.Tensor(frames, shared_memory=True))
            request.set_output_tensor(openvino.Tensor(logits.numpy(), shared_memory=True))
            request.infer()
        finally:
            self._requests.put(request)
        return logits


class _Served(nn.Module):
    """Images of the working size in, logits out."""

    def __init__(self, network: PSPNet, certainty: float) -> None:
        super().__init__()
        self.network, self.certainty = network, certainty

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return without_doubtful(logits, self.certainty)


def _converted(network: _Served, shape: Shape) -> openvino.Model:
    """The network for frames (N, H, W, 3) of this shape, as bytes.

    Not by `openvino.convert_model`, which reports its use to Intel unless the user has forbidden it.
    """
    frontend = FrontEndManager().load_by_framework("pytorch")
    frames, height, width, colours = shape
    with warnings.catch_warnings(action="ignore"):  # torch would rather export than trace
        example = torch.zeros(frames, colours, height, width)
        decoder = TorchScriptPythonDecoder(network, example_input=example)
    model = frontend.convert(frontend.load(decoder))
    model.reshape([frames, colours, height, width])
    steps = PrePostProcessor(model)
    steps.input().tensor().set_layout(openvino.Layout("NHWC")).set_element_type(openvino.Type.u8)
    steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
