"""Backbones: images to features, one map for every stride from 4 to the deepest.

Sides that a stride does not divide are rounded up, as strided convolutions do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from serving.vss.architecture import (
    IMAGE,
    ChannelPlan,
    EfficientNetLite,
    InvertedStage,
    ResNet,
    inner_group,
)
from serving.vss.layers import ConvNorm


class Backbone(nn.Module):
    """Images (N, 3, H, W) to the last feature map of every stride, finest first.

    `groups` names the channel group of each of these maps.
    """

    stages: nn.ModuleList
    groups: tuple[str, ...]
    ends: frozenset[int]
    """Stages whose features are the last of their stride."""

    def forward(self, images: Tensor) -> list[Tensor]:
        x, features = self._stem(images), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.ends:
                features.append(x)
        return features

    def _stem(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def _end_strides(self, strides: list[int]) -> None:
        """`strides` of all stages, relative to the image."""
        last = len(strides) - 1
        self.ends = frozenset(
            i for i in range(len(strides)) if strides[i] >= 4 and (i == last or strides[i + 1] > strides[i])
        )
        self.groups = tuple(f"stage{number}.stream" for number in sorted(self.ends))


def _stage(
    number: int, depth: int, reads: str, stride: int, block: Callable[[str, str, str, int], nn.Module]
) -> nn.Sequential:
    """`depth` blocks, each made from (reads, stream, name, stride); the first one strides into the stream."""
    stream = f"stage{number}.stream"
    return nn.Sequential(
        block(reads, stream, f"stage{number}.0", stride),
        *(block(stream, stream, f"stage{number}.{index}", 1) for index in range(1, depth)),
    )


def make_backbone(specification: ResNet | EfficientNetLite, channels: ChannelPlan) -> Backbone:
    if isinstance(specification, ResNet):
        return ResNetBackbone(specification, channels)
    return EfficientNetLiteBackbone(specification, channels)


class ResNetBackbone(Backbone):
    """A stem of 3x3 convolutions, four stages of residual blocks, dilated past the output stride."""

    stem: nn.ModuleList

    def __init__(self, specification: ResNet, channels: ChannelPlan) -> None:
        super().__init__()
        self.pool = specification.stem_pool
        groups = [IMAGE, *(f"stem.{i}" for i in range(len(specification.stem)))]
        last = len(groups) - 2
        self.stem = nn.ModuleList(
            ConvNorm(channels, (reads,), writes, 3, 2 if i == 0 or (i == last and not self.pool) else 1)
            for i, (reads, writes) in enumerate(pairwise(groups))
        )
        stages, strides, reads, at_stride, dilation = [], [], groups[-1], 4, 1
        for stage, depth in enumerate(specification.depths):
            stride = 1
            if stage > 0:
                if at_stride < specification.output_stride:
                    at_stride, stride = at_stride * 2, 2
                else:
                    dilation *= 2
            block = partial(ResidualBlock, specification.block, channels, dilation)
            stages.append(_stage(stage, depth, reads, stride, block))
            strides.append(at_stride)
            reads = f"stage{stage}.stream"
        self.stages = nn.ModuleList(stages)
        self._end_strides(strides)

    def _stem(self, images: Tensor) -> Tensor:
        x = images
        for layer in self.stem:
            x = F.relu(layer(x))
        return F.max_pool2d(x, 3, stride=2, padding=1) if self.pool else x


class ResidualBlock(nn.Module):
    """A basic (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1) block adding into a residual stream."""

    def __init__(
        self, kind: str, channels: ChannelPlan, dilation: int, reads: str, stream: str, name: str, stride: int
    ) -> None:
        super().__init__()
        if kind == "basic":
            inner = f"{name}.inner"
            body = [
                ConvNorm(channels, (reads,), inner, 3, stride, dilation),
                ConvNorm(channels, (inner,), stream, 3, 1, dilation),
            ]
        else:
            squeeze, spatial = f"{name}.squeeze", f"{name}.spatial"
            body = [
                ConvNorm(channels, (reads,), squeeze, 1),
                ConvNorm(channels, (squeeze,), spatial, 3, stride, dilation),
                ConvNorm(channels, (spatial,), stream, 1),
            ]
        self.body = nn.ModuleList(body)
        self.shortcut = (
            ConvNorm(channels, (reads,), stream, 1, stride)
            if reads != stream or stride > 1
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.body[:-1]:
            y = F.relu(layer(y))
        return F.relu(self.body[-1](y) + self.shortcut(x))


class EfficientNetLiteBackbone(Backbone):
    """A strided stem and stages of inverted residual blocks."""

    stem: ConvNorm

    def __init__(self, specification: EfficientNetLite, channels: ChannelPlan) -> None:
        super().__init__()
        self.stem = ConvNorm(channels, (IMAGE,), "stem", 3, 2)
        stages, strides, reads, at_stride = [], [], "stem", 2
        for number, stage in enumerate(specification.stages):
            at_stride *= stage.stride
            block = partial(_inverted_block, stage, channels)
            stages.append(_stage(number, stage.depth, reads, stage.stride, block))
            strides.append(at_stride)
            reads = f"stage{number}.stream"
        self.stages = nn.ModuleList(stages)
        self._end_strides(strides)

    def _stem(self, images: Tensor) -> Tensor:
        return F.relu6(self.stem(images))


def _inverted_block(
    stage: InvertedStage, channels: ChannelPlan, reads: str, stream: str, name: str, stride: int
) -> nn.Module:
    """A block, or nothing where it was pruned away; only what adds into a stream can be."""
    if reads == stream and stage.expansion > 1 and channels[inner_group(name)] == 0:
        return nn.Identity()
    return InvertedBlock(stage, channels, reads, stream, name, stride)


class InvertedBlock(nn.Module):
    """1x1 to many channels, depthwise, 1x1 back into the stream, which has no activation."""

    def __init__(
        self, stage: InvertedStage, channels: ChannelPlan, reads: str, stream: str, name: str, stride: int
    ) -> None:
        super().__init__()
        inner = inner_group(name) if stage.expansion > 1 else reads
        self.expand = ConvNorm(channels, (reads,), inner, 1) if stage.expansion > 1 else None
        self.depthwise = ConvNorm(channels, (inner,), inner, stage.kernel, stride, depthwise=True)
        self.project = ConvNorm(channels, (inner,), stream, 1)
        self.adds = reads == stream and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = F.relu6(self.depthwise(y))
        written: Tensor = self.project(y)
        return x + written if self.adds else written
