"""Weights of segmentation networks on disk: safetensors in float32, one file a variant."""

from __future__ import annotations

from pathlib import Path

import safetensors
from safetensors.torch import load_file, save

from configs.bundle import Bundle, BundleError
from configs.manifest import SafetensorsVariant
from serving.vss.pspnet import Architecture, ChannelPlan, PSPNet


def save_network(network: PSPNet, path: Path) -> None:
    """Writes all parameters and batch-norm statistics; appears whole or not at all."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors))  # `save_file` would make it unreadable for other users
    partial.replace(path)


def read_network(path: Path, architecture: Architecture, channels: ChannelPlan) -> PSPNet:
    """A float32 network for inference. Raises `BundleError` where the file does not hold these channels."""
    network = PSPNet(architecture, channels)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise BundleError(f"{path} does not hold the weights that were expected: {error}") from error
    return network.eval().requires_grad_(False)


def load_network(bundle: Bundle, variant: int) -> PSPNet:
    """A network of ours from a bundle: float32, in eval mode, without gradients. Raises `BundleError`."""
    entry = bundle.variant(variant)
    if not isinstance(entry, SafetensorsVariant):
        raise BundleError(
            f"variant {variant} of {bundle.id} is a model in {entry.format}, expected weights in "
            "safetensors: only our own networks can be trained and measured here"
        )
    architecture = Architecture.model_validate(bundle.manifest.architecture)
    named = len(bundle.manifest.classes)
    if architecture.classes != named:
        raise BundleError(f"{bundle.id} names {named} classes, its networks have {architecture.classes}")
    return read_network(bundle.path(entry.weights), architecture, entry.channels)
