"""Weights of segmentation networks on disk: safetensors, one file a variant.

Convolutions are kept in float16, which halves a bundle and moves no weight by more than a two-thousandth of
itself; batch-norm statistics, whose range is wider, in float32. Networks compute in whatever the hardware is
fast in, from these.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
from safetensors.torch import load_file, save
from torch import Tensor

from configs.bundle import Bundle, BundleError
from configs.manifest import SafetensorsVariant
from serving.vss.architecture import Architecture, ChannelPlan
from serving.vss.pspnet import PSPNet


def save_network(network: PSPNet, path: Path) -> None:
    """Writes all parameters and batch-norm statistics; appears whole or not at all."""
    tensors = {name: _kept(value.detach().cpu()) for name, value in network.state_dict().items()}
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors))  # `save_file` would make it unreadable for other users
    partial.replace(path)


def _kept(value: Tensor) -> Tensor:
    return (value.half() if value.ndim > 1 else value).contiguous()


def read_network(path: Path, architecture: Architecture, channels: ChannelPlan) -> PSPNet:
    """A float32 network for inference. Raises `BundleError` where the file does not hold these channels."""
    network = PSPNet(architecture, channels)
    try:
        network.load_state_dict(load_file(path))  # copies into float32
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
