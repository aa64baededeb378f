"""PSPNet with backbone, output stride and width as parameters (Zhao et al. 2017; paper, 2.1.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.vss.architecture import HEAD, Architecture, ChannelPlan, dense_channels, last_group
from serving.vss.backbones import make_backbone
from serving.vss.layers import ConvNorm


class PSPNet(nn.Module):
    """Images (N, 3, H, W) in [0, 1] to logits (N, classes, H / s, W / s), rounded up.

    Images are at their working size already (`serving.vss.framing`); s is the stride of the backbone's
    deepest features, or of the finest that the head meets again. Normalising the image is the first batch
    norm's work: networks take plain RGB in [0, 1] minus one half.

    Deep features alone lose poles, signs and people, and dilated ones cost many times as much. With `merges`
    the upsampled head is added to finer features, one stride after the other, each after a lateral 1x1
    convolution (Lin et al. 2017). What adds up writes one channel group, as in a residual stream.
    """

    def __init__(self, architecture: Architecture, channels: ChannelPlan | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.channels = dict(channels or dense_channels(architecture))
        self.backbone = make_backbone(architecture.backbone, self.channels)
        *finer, last = self.backbone.groups
        if len(architecture.merges) > len(finer):
            raise ValueError(
                f"{len(architecture.merges)} merges, but the backbone has features at {len(finer)} finer "
                "strides: take fewer, or a backbone of a larger output stride"
            )
        bins = architecture.bins
        self.pyramid = nn.ModuleList(ConvNorm(self.channels, (last,), f"pyramid.{b}", 1) for b in bins)
        self.head = ConvNorm(self.channels, (last, *(f"pyramid.{b}" for b in bins)), HEAD, 3)
        self.last = last_group(architecture)
        self.laterals, self.merges = nn.ModuleList(), nn.ModuleList()
        coarse = HEAD
        for level in range(len(architecture.merges)):
            self.laterals.append(ConvNorm(self.channels, (finer[-1 - level],), coarse, 1))
            self.merges.append(ConvNorm(self.channels, (coarse,), f"merge.{level}", 3))
            coarse = f"merge.{level}"
        self.classifier = nn.Conv2d(self.channels[self.last], architecture.classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        *finer, x = self.backbone(images - 0.5)  # centred, so that zero padding is mid-grey
        x = self._head(x)
        for level, (lateral, merge) in enumerate(zip(self.laterals, self.merges, strict=True)):
            fine = finer[-1 - level]
            x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            x = merge(F.relu(x + lateral(fine)))
        return self.classifier(F.relu(x))  # type: ignore[no-any-return]

    def _head(self, x: Tensor) -> Tensor:
        """Pyramid pooling and the convolution that fuses it, before its activation."""
        parts = [x]
        for size, branch in zip(self.architecture.bins, self.pyramid, strict=True):
            context = F.relu(branch(F.adaptive_avg_pool2d(x, size)))
            parts.append(F.interpolate(context, size=x.shape[-2:], mode="bilinear", align_corners=False))
        return self.head(torch.cat(parts, dim=1))  # type: ignore[no-any-return]
