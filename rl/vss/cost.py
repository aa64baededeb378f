"""What a network costs: FLOPs as torch's counter gives them (2 per multiply-add), on the meta device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from serving.vss.architecture import CLASSES, Architecture, ChannelPlan, dense_channels
from serving.vss.framing import working_size
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet


def count_flops(architecture: Architecture, channels: ChannelPlan, size: tuple[int, int]) -> int:
    """FLOPs of one frame of (width, height), from its tensor at working size to logits."""
    counter, _ = _count(architecture, channels, size)
    return int(counter.get_total_flops())


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@dataclass(frozen=True)
class CostModel:
    """FLOPs as a function of the channel plan, exact and without building networks.

    A convolution's FLOPs are proportional to channels read times channels written, a depthwise one's to
    channels written, so one run of the counter on the dense network gives every plan's FLOPs.
    """

    convolutions: tuple[tuple[tuple[str, ...], str, int], ...]
    """(reads, writes, FLOPs per pair of channels); reads are empty where convolutions are depthwise."""

    @classmethod
    def of(cls, architecture: Architecture, size: tuple[int, int]) -> CostModel:
        channels = dense_channels(architecture)
        counter, network = _count(architecture, channels, size)
        counted = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
        groups = {
            f"PSPNet.{name}.conv": (() if module.depthwise else module.reads, module.writes)
            for name, module in network.named_modules()
            if isinstance(module, ConvNorm)
        }
        groups["PSPNet.classifier"] = ((network.last,), CLASSES)
        return cls(
            tuple(
                (reads, writes, counted[name] // (_width(channels, reads) * channels[writes]))
                for name, (reads, writes) in groups.items()
            )
        )

    def flops(self, channels: ChannelPlan) -> int:
        return sum(
            pair * channels[writes] * _width(channels, reads) for reads, writes, pair in self.convolutions
        )


def _width(channels: ChannelPlan, reads: tuple[str, ...]) -> int:
    return sum(channels[group] for group in reads) if reads else 1


def _count(
    architecture: Architecture, channels: ChannelPlan, size: tuple[int, int]
) -> tuple[FlopCounterMode, PSPNet]:
    with torch.device("meta"):
        network = PSPNet(architecture, channels).eval()
        image = torch.empty(1, 3, *working_size(size[1], size[0], architecture.pixels))
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(image)
    return counter, network
