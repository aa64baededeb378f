"""PSPNet with backbone, output stride and width as parameters (Zhao et al. 2017; paper, 2.1.1).

Every convolution says which *channel group* it writes and which it reads. A pruned variant is the same
class built with fewer channels in its groups, so physically removed networks need no masks and no code
of their own. The channels of one residual stream are one group: all convolutions that add into the
stream lose the same channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

ChannelPlan = Mapping[str, int]

IMAGE = "image"
CLASSES = "classes"


class Architecture(BaseModel):
    """What a family shares; one `ChannelPlan` on top of it gives one variant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: Literal["basic", "bottleneck"]
    stem: tuple[int, ...] = Field(min_length=1, description="widths of the stem's 3x3 convolutions")
    stem_pool: bool = Field(description="reach 1/4 by max pooling; else the last stem convolution strides")
    widths: tuple[int, int, int, int] = Field(description="channels of the four residual streams")
    depths: tuple[int, int, int, int] = Field(description="blocks in each stage")
    output_stride: Literal[8, 16, 32]
    bins: tuple[int, ...] = (1, 2, 3, 6)
    pyramid: int = Field(gt=0, description="channels of each pyramid branch")
    head: int = Field(gt=0, description="channels of the fusing 3x3 convolution")
    detail: int | None = Field(
        default=None,
        gt=0,
        description="channels of a 3x3 convolution at stride 8, where the head meets the second stage again; "
        "without it the network is the plain PSPNet",
    )
    classes: int = Field(gt=1)


class ConvNorm(nn.Module):
    """Convolution and batch norm, labelled with the channel groups that it reads and writes."""

    def __init__(
        self,
        channels: ChannelPlan,
        reads: tuple[str, ...],
        writes: str,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.reads, self.writes = reads, writes
        self.conv = nn.Conv2d(
            sum(channels[group] for group in reads),
            channels[writes],
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(channels[writes])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """A basic (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1) block adding into a residual stream."""

    def __init__(
        self, kind: str, channels: ChannelPlan, reads: str, stream: str, name: str, stride: int, dilation: int
    ) -> None:
        super().__init__()
        if kind == "basic":
            inner = f"{name}.inner"
            self.body = nn.ModuleList(
                [
                    ConvNorm(channels, (reads,), inner, 3, stride, dilation),
                    ConvNorm(channels, (inner,), stream, 3, 1, dilation),
                ]
            )
        else:
            squeeze, spatial = f"{name}.squeeze", f"{name}.spatial"
            self.body = nn.ModuleList(
                [
                    ConvNorm(channels, (reads,), squeeze, 1),
                    ConvNorm(channels, (squeeze,), spatial, 3, stride, dilation),
                    ConvNorm(channels, (spatial,), stream, 1),
                ]
            )
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


def dense_channels(architecture: Architecture) -> dict[str, int]:
    """The channel plan of variant 0: every group at full width."""
    plan = {IMAGE: 3}
    plan |= {f"stem.{i}": width for i, width in enumerate(architecture.stem)}
    for stage, (width, depth) in enumerate(zip(architecture.widths, architecture.depths, strict=True)):
        plan[f"stage{stage}.stream"] = width
        for block in range(depth):
            if architecture.block == "basic":
                plan[f"stage{stage}.{block}.inner"] = width
            else:
                plan[f"stage{stage}.{block}.squeeze"] = width // 4
                plan[f"stage{stage}.{block}.spatial"] = width // 4
    plan |= {f"pyramid.{size}": architecture.pyramid for size in architecture.bins}
    plan["head"] = architecture.head
    if architecture.detail is not None:
        plan["detail"] = architecture.detail
    plan[CLASSES] = architecture.classes
    return plan


class PSPNet(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to logits (N, classes, H / s, W / s); s is 8 with detail, else the
    output stride.

    Sides that the stride does not divide are rounded up, as strided convolutions do. Normalising the image
    is the first batch norm's work: networks take plain RGB in [0, 1] minus one half.

    Stride 16 loses poles, signs and people, and stride 8 throughout costs three times as much. With
    `detail` the second stage's features, at stride 8, are added to the upsampled head by a lateral 1x1
    convolution (Lin et al. 2017; Orsic et al. 2019): a tenth more work. Head and lateral write one channel
    group, as in a residual stream.
    """

    def __init__(self, architecture: Architecture, channels: ChannelPlan | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.channels = dict(channels or dense_channels(architecture))
        self.stem = self._make_stem()
        self.stages = self._make_stages()
        last = "stage3.stream"
        bins = architecture.bins
        self.pyramid = nn.ModuleList([ConvNorm(self.channels, (last,), f"pyramid.{b}", 1) for b in bins])
        self.head = ConvNorm(self.channels, (last, *(f"pyramid.{b}" for b in bins)), "head", 3)
        self.last = "head"
        if architecture.detail is not None:
            self.lateral = ConvNorm(self.channels, ("stage1.stream",), "head", 1)
            self.detail = ConvNorm(self.channels, ("head",), "detail", 3)
            self.last = "detail"
        self.classifier = nn.Conv2d(self.channels[self.last], architecture.classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, std=0.01)

    def _make_stem(self) -> nn.ModuleList:
        groups = [IMAGE, *(f"stem.{i}" for i in range(len(self.architecture.stem)))]
        last = len(groups) - 2
        strides = [
            2 if i == 0 or (i == last and not self.architecture.stem_pool) else 1 for i in range(last + 1)
        ]
        return nn.ModuleList(
            [
                ConvNorm(self.channels, (reads,), writes, 3, stride)
                for reads, writes, stride in zip(groups, groups[1:], strides, strict=False)
            ]
        )

    def _make_stages(self) -> nn.ModuleList:
        stages, reads, at_stride, dilation = [], f"stem.{len(self.architecture.stem) - 1}", 4, 1
        for stage, depth in enumerate(self.architecture.depths):
            stride = 1
            if stage > 0:
                if at_stride < self.architecture.output_stride:
                    at_stride, stride = at_stride * 2, 2
                else:
                    dilation *= 2
            stream, blocks = f"stage{stage}.stream", []
            for block in range(depth):
                name = f"stage{stage}.{block}"
                blocks.append(
                    ResidualBlock(
                        self.architecture.block,
                        self.channels,
                        reads,
                        stream,
                        name,
                        stride if block == 0 else 1,
                        dilation,
                    )
                )
                reads = stream
            stages.append(nn.Sequential(*blocks))
        return nn.ModuleList(stages)

    def forward(self, images: Tensor) -> Tensor:
        x = images - 0.5  # centred, so that zero padding is mid-grey
        for layer in self.stem:
            x = F.relu(layer(x))
        if self.architecture.stem_pool:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        x = self._head(x)
        if self.architecture.detail is not None:
            fine = features[1]
            x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            x = self.detail(F.relu(x + self.lateral(fine)))
        return self.classifier(F.relu(x))  # type: ignore[no-any-return]

    def _head(self, x: Tensor) -> Tensor:
        """Pyramid pooling and the convolution that fuses it, before its activation."""
        parts = [x]
        for size, branch in zip(self.architecture.bins, self.pyramid, strict=True):
            context = F.relu(branch(F.adaptive_avg_pool2d(x, size)))
            parts.append(F.interpolate(context, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.head(torch.cat(parts, dim=1))  # type: ignore[no-any-return]
