"""The variants of a bundle as networks that are ready to run, whatever kind of file they lie in."""

from __future__ import annotations

from configs.bundle import Bundle
from configs.manifest import OnnxVariant
from serving.vss.hardware import Hardware, choose_hardware
from serving.vss.network import Network
from serving.vss.onnx_network import OnnxNetwork
from serving.vss.openvino_network import OpenVinoNetwork
from serving.vss.pspnet import PSPNet
from serving.vss.torch_network import TorchNetwork
from serving.vss.weights import load_network


def load_variant(bundle: Bundle, variant: int, threads: int = 1, hardware: Hardware | None = None) -> Network:
    """One variant, by default in the numeric type that suits it and this machine. Raises `BundleError`.

    `threads` are those of CPU runtimes; an ONNX model's file says how it computes, whatever `hardware` says.
    """
    entry = bundle.variant(variant)
    if isinstance(entry, OnnxVariant):
        return OnnxNetwork(bundle.path(entry.weights), len(bundle.manifest.classes), threads)
    return ready(load_network(bundle, variant), hardware or choose_hardware(), threads, entry.certainty)


def ready(network: PSPNet, hardware: Hardware, threads: int, certainty: float = 0.0) -> Network:
    """A network of ours in the runtime that is fastest there, without the classes that it is less sure of
    (`serving.vss.certainty`). Takes the network over."""
    if hardware.device == "cpu":
        return OpenVinoNetwork(network, hardware, threads, certainty)
    return TorchNetwork(network, hardware, certainty)
