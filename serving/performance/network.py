"""The performance encoder's network: five MobileNetV2 blocks and an average pool (paper, 3.3, Fig. 12).

It looks at the softmax of one frame, (classes, 180, 320), and nothing else of the segmentation model, so
any architecture can stand before it. Under 0.5 GFLOPs; the flattened output is the embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = (180, 320)
EMBEDDING = 120
_BLOCKS = ((16, 2, 2), (24, 2, 3), (32, 2, 3), (32, 2, 3), (8, 1, 3))  # channels, stride, expansion


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise 3x3, project; a shortcut where the shapes allow it."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU6(inplace=True),
            nn.Conv2d(inner, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class PerformanceEncoder(nn.Module):
    """Softmax (N, classes, 180, 320) to embeddings (N, 120)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        blocks, channels = [], classes
        for width, stride, expansion in _BLOCKS:
            blocks.append(InvertedResidual(channels, width, stride, expansion))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AvgPool2d(4)  # 8 x 12 x 20 to 8 x 3 x 5

    def forward(self, softmax: Tensor) -> Tensor:
        pooled: Tensor = self.pool(self.blocks(softmax))
        return pooled.flatten(1)


class AccuracyHead(nn.Module):
    """Embeddings (N, 120) and the configurations (N,) that made them to mIoU (N, 3): lower end, middle and
    upper end of what the segment just served came to."""

    def __init__(self, configurations: int, hidden: int = 64) -> None:
        super().__init__()
        self.made_by = nn.Embedding(configurations, hidden)
        self.hidden = nn.Linear(EMBEDDING, hidden)
        self.out = nn.Linear(hidden, 3)
        # Added to both ends, so that they hold the promised share of drives that nothing was learnt from.
        self.register_buffer("widening", torch.zeros(()))

    def forward(self, embedding: Tensor, configuration: Tensor) -> Tensor:
        seen = torch.relu(self.hidden(embedding) + self.made_by(configuration))
        middle, below, above = self.out(seen).unbind(1)
        ends = torch.stack([middle - F.softplus(below), middle, middle + F.softplus(above)], 1).sigmoid()
        widening = torch.stack([-self.get_buffer("widening"), torch.zeros(()), self.get_buffer("widening")])
        return (ends + widening).clamp(0, 1)


def encoder_input(logits: Tensor) -> Tensor:
    """Logits at a network's own stride, (N, classes, h, w), to the softmax that the encoder sees.

    Sending logits at stride (137 KB in float16 at 1280x720) and upsampling at the encoder moves sixteen
    times fewer bytes than sending the softmax, which would not fit a gRPC message in float32.
    """
    return F.interpolate(logits.float(), size=INPUT_SIZE, mode="bilinear", align_corners=False).softmax(1)


def make_encoder(classes: int, seed: int = 0) -> PerformanceEncoder:
    """An untrained encoder with reproducible weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PerformanceEncoder(classes).eval()
