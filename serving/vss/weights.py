"""Weights of segmentation networks on disk: safetensors, one file a variant.

Convolutions that mix channels hold nearly all of a network. They are kept in 8 bits with one scale for each
output channel, which makes a bundle half as large as float16 would, and changes mIoU by less than a
thousandth; depthwise convolutions are kept in float16, batch-norm statistics, whose range is wider, in
float32. Networks compute in whatever the hardware is fast in, from these.
"""

from __future__ import annotations

from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from configs.bundle import Bundle, BundleError
from configs.manifest import SafetensorsVariant
from serving.vss.architecture import Architecture, ChannelPlan
from serving.vss.pspnet import PSPNet

SCALE = ".scale"  # after the name of a weight in 8 bits
TOP = 127
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)
"""Shares of a channel's largest weight that 127 may stand for: clipping a few makes the others finer."""


def save_network(network: PSPNet, path: Path) -> None:
    """Writes all parameters and batch-norm statistics; appears whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        tensors |= _kept(name, value.detach().cpu())
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors))  # `save_file` would make it unreadable for other users
    partial.replace(path)


def _kept(name: str, value: Tensor) -> dict[str, Tensor]:
    if value.ndim < 2:
        return {name: value.contiguous()}
    if value.shape[1] == 1:
        return {name: value.half().contiguous()}
    levels, scale = quantized(value)
    return {name: levels, name + SCALE: scale}


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution's weight (outputs, inputs, rows, columns) as int8 of that shape and scales (outputs,),
    whose product is nearest to it in the mean square.

    Scales have 16 bits of mantissa, so their products with levels are exact, and what was read from a file is
    written as it was.
    """
    flat = weight.float().flatten(1)
    largest = flat.abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny * TOP)
    mantissa, exponent = torch.frexp(torch.stack([largest * share / TOP for share in SHRINKS]))
    scales = torch.ldexp((mantissa * 2**16).round_() / 2**16, exponent)  # (shrinks, outputs)
    levels = (flat / scales[..., None]).round_().clamp_(-TOP, TOP)
    best = (levels * scales[..., None] - flat).square_().sum(2).argmin(0)
    rows = torch.arange(len(flat))
    return levels[best, rows].to(torch.int8).view(weight.shape).contiguous(), scales[best, rows]


def _restored(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a network, its weights in 8 bits back in float32."""
    state = {name: value for name, value in tensors.items() if not name.endswith(SCALE)}
    for name, value in state.items():
        if name + SCALE in tensors:
            state[name] = value.float() * tensors[name + SCALE][:, None, None, None]
    return state


def read_network(path: Path, architecture: Architecture, channels: ChannelPlan) -> PSPNet:
    """A float32 network for inference. Raises `BundleError` where the file does not hold these channels."""
    network = PSPNet(architecture, channels)
    try:
        network.load_state_dict(_restored(load_file(path)))  # copies into float32
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
