"""What a family of networks shares: backbone, pyramid and head, with their channel groups.

Every convolution says which *channel group* it writes and which it reads. A pruned variant is the same
network built with fewer channels in its groups (a `ChannelPlan`), so physically removed networks need no
masks and no code of their own. The channels of one residual stream are one group: all convolutions that add
into the stream lose the same channels, and a depthwise convolution keeps the group that it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

ChannelPlan = Mapping[str, int]

IMAGE = "image"
CLASSES = "classes"
HEAD = "head"

Width = Annotated[int, Field(gt=0)]


class Specification(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResNet(Specification):
    """He et al. 2016, dilated where the output stride asks for it (paper, 2.1.1)."""

    kind: Literal["resnet"] = "resnet"
    block: Literal["basic", "bottleneck"]
    stem: tuple[Width, ...] = Field(min_length=1, description="widths of the stem's 3x3 convolutions")
    stem_pool: bool = Field(description="reach 1/4 by max pooling; else the last stem convolution strides")
    widths: tuple[Width, Width, Width, Width] = Field(description="channels of the four residual streams")
    depths: tuple[Width, Width, Width, Width] = Field(description="blocks in each stage")
    output_stride: Literal[8, 16, 32]

    def channels(self) -> dict[str, int]:
        plan = {f"stem.{i}": width for i, width in enumerate(self.stem)}
        for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            plan[f"stage{stage}.stream"] = width
            for block in range(depth):
                if self.block == "basic":
                    plan[f"stage{stage}.{block}.inner"] = width
                else:
                    plan[f"stage{stage}.{block}.squeeze"] = width // 4
                    plan[f"stage{stage}.{block}.spatial"] = width // 4
        return plan


class InvertedStage(Specification):
    """Inverted residual blocks that add into one stream; the first of them strides."""

    width: Width = Field(description="channels of the stream")
    depth: Width
    expansion: Width = Field(description="expanded channels to channels read; 1: no expanding convolution")
    kernel: Literal[3, 5]
    stride: Literal[1, 2]


LITE0 = (
    InvertedStage(width=16, depth=1, expansion=1, kernel=3, stride=1),
    InvertedStage(width=24, depth=2, expansion=6, kernel=3, stride=2),
    InvertedStage(width=40, depth=2, expansion=6, kernel=5, stride=2),
    InvertedStage(width=80, depth=3, expansion=6, kernel=3, stride=2),
    InvertedStage(width=112, depth=3, expansion=6, kernel=5, stride=1),
    InvertedStage(width=192, depth=4, expansion=6, kernel=5, stride=2),
    InvertedStage(width=320, depth=1, expansion=6, kernel=3, stride=1),
)


class EfficientNetLite(Specification):
    """EfficientNet-Lite0 without its classifier: MobileNetV2's blocks at widths that were searched for
    (Tan & Le 2019). There are weights for it that were pre-trained on ImageNet."""

    kind: Literal["efficientnet-lite"] = "efficientnet-lite"
    stem: Width = 32
    stages: tuple[InvertedStage, ...] = Field(default=LITE0, min_length=1)

    def channels(self) -> dict[str, int]:
        plan, reads = {"stem": self.stem}, self.stem
        for number, stage in enumerate(self.stages):
            plan[f"stage{number}.stream"] = stage.width
            for block in range(stage.depth):
                if stage.expansion > 1:
                    plan[f"stage{number}.{block}.expanded"] = reads * stage.expansion
                reads = stage.width
        return plan


class Architecture(Specification):
    """What a family shares; one `ChannelPlan` on top of it gives one variant."""

    backbone: ResNet | EfficientNetLite = Field(discriminator="kind")
    pixels: int | None = Field(
        default=None,
        ge=4096,
        description="about as many pixels every frame is brought to first (`serving.vss.framing`); without "
        "it frames are segmented at their own size, and FLOPs fall with the scale",
    )
    bins: tuple[Width, ...] = (1, 2, 3, 6)
    pyramid: Width = Field(description="channels of each pyramid branch")
    head: Width = Field(description="channels of the fusing 3x3 convolution")
    merges: tuple[Width, ...] = Field(
        default=(),
        description="channels of a 3x3 convolution at each next finer stride, where the head meets the "
        "backbone's features again; without any the network is the plain PSPNet",
    )
    classes: int = Field(gt=1)


def dense_channels(architecture: Architecture) -> dict[str, int]:
    """The channel plan of variant 0: every group at full width."""
    plan = {IMAGE: 3} | architecture.backbone.channels()
    plan |= {f"pyramid.{size}": architecture.pyramid for size in architecture.bins}
    plan[HEAD] = architecture.head
    plan |= {f"merge.{level}": width for level, width in enumerate(architecture.merges)}
    plan[CLASSES] = architecture.classes
    return plan


def inner_group(block: str) -> str:
    """The channel group inside an inverted residual block, such as stage3.2; of no channels where the block
    was pruned away and its stream passes by."""
    return f"{block}.expanded"


def last_group(architecture: Architecture) -> str:
    """The channel group that the classifier reads."""
    return f"merge.{len(architecture.merges) - 1}" if architecture.merges else HEAD
