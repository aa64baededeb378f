"""Our own networks on a GPU: PyTorch, activations channels-last."""

from __future__ import annotations

import torch
from torch import Tensor

from serving.vss.certainty import without_doubtful
from serving.vss.folding import fold_batch_norms
from serving.vss.framing import framed
from serving.vss.hardware import Hardware
from serving.vss.pspnet import PSPNet


class TorchNetwork:
    """A PSPNet as the engine runs it. Takes the network over: it is folded and converted in place."""

    streams = 1

    def __init__(self, network: PSPNet, hardware: Hardware, certainty: float = 0.0) -> None:
        self.classes, self._pixels = network.architecture.classes, network.architecture.pixels
        self._certainty = certainty
        self.device, self._dtype = hardware.device, hardware.dtype
        self.runs_on = f"PyTorch on {hardware.reason}"
        folded = fold_batch_norms(network).to(hardware.device, hardware.dtype)
        self._network = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: Tensor) -> Tensor:
        pictures = images.to(self._dtype).div_(255)
        logits: Tensor = self._network(framed(pictures, self._pixels))
        return without_doubtful(logits, self._certainty)
