"""The variants of a bundle as networks that are ready to run, whatever kind of file they lie in."""

from __future__ import annotations

from configs.bundle import Bundle
from configs.manifest import OnnxVariant
from serving.vss.network import Network
from serving.vss.onnx_network import OnnxNetwork
from serving.vss.torch_network import TorchNetwork, choose_hardware
from serving.vss.weights import load_network


def load_variant(bundle: Bundle, variant: int, threads: int = 1) -> Network:
    """One variant, in the numeric type that suits it and this machine. Raises `BundleError`.

    `threads` are those of ONNX models; torch's belong to the thread that runs the network.
    """
    entry = bundle.variant(variant)
    if isinstance(entry, OnnxVariant):
        return OnnxNetwork(bundle.path(entry.weights), len(bundle.manifest.classes), threads)
    return TorchNetwork(load_network(bundle, variant), choose_hardware())
