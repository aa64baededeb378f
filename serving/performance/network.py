"""The performance encoder's network (paper, 3.3, Fig. 12).

It looks at the softmax of one frame, (classes, 180, 320), and nothing else of the segmentation model, so any
architecture can stand before it. The paper's form is five MobileNetV2 blocks and an average pool, whose
flattened output is the embedding. Ours is a linear map of what the softmax says of its own accuracy
(`serving.performance.expectations`); both may be added up. Under 0.5 GFLOPs.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from serving.performance.expectations import expectation_count, expectations

INPUT_SIZE = (180, 320)
EMBEDDING = 120
LEAST_DEVIATION = 1e-3
FARTHEST = 4.0
"""Standard deviations beyond which a street is like none seen before: no linear map is asked that far."""
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
    """Softmax (N, classes, 180, 320) to embeddings (N, 120); without convolutions of any size.

    convolutions: the paper's blocks; expectations: ours. Raises `ValueError` for neither.
    """

    def __init__(self, classes: int, convolutions: bool = True, expectations: bool = False) -> None:
        super().__init__()
        if not convolutions and not expectations:
            raise ValueError("an encoder needs convolutions, expectations or both")
        self.convolutions = Convolutions(classes) if convolutions else None
        self.expected = LinearExpectations(classes) if expectations else None

    def softmax(self, logits: Tensor) -> Tensor:
        """What it looks at, of logits (N, classes, h, w) at a network's own stride; what is expected of a
        softmax needs no upsampling."""
        return logits.float().softmax(1) if self.convolutions is None else encoder_input(logits)

    def forward(self, softmax: Tensor) -> Tensor:
        if self.expected is None:
            assert self.convolutions is not None
            return self.convolutions(softmax)  # type: ignore[no-any-return]
        embedding: Tensor = self.expected(expectations(softmax))
        return embedding if self.convolutions is None else embedding + self.convolutions(softmax)


class LinearExpectations(nn.Module):
    """Expectations (N, `expectation_count`), standardised, to embeddings (N, 120)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        count = expectation_count(classes)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("deviation", torch.ones(count))
        self.linear = nn.Linear(count, EMBEDDING)

    def standardise(self, examples: Tensor) -> None:
        """Takes mean and deviation from expectations (N, count)."""
        self.get_buffer("mean").copy_(examples.mean(0))
        self.get_buffer("deviation").copy_(examples.std(0).clamp(min=LEAST_DEVIATION))

    def forward(self, values: Tensor) -> Tensor:
        standardised = (values - self.get_buffer("mean")) / self.get_buffer("deviation")
        embedding: Tensor = self.linear(standardised.clamp(-FARTHEST, FARTHEST))
        return embedding


class Convolutions(nn.Module):
    """Softmax (N, classes, 180, 320) to (N, 120)."""

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


def make_encoder(
    classes: int, seed: int = 0, convolutions: bool = True, expectations: bool = False
) -> PerformanceEncoder:
    """An untrained encoder with reproducible weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PerformanceEncoder(classes, convolutions, expectations).eval()


def load_encoder(path: Path, classes: int) -> PerformanceEncoder:
    """A trained encoder; its weights say which form it has."""
    weights = load_file(path)
    has_convolutions, has_expectations = (
        any(name.startswith(part) for name in weights) for part in ("convolutions.", "expected.")
    )
    encoder = PerformanceEncoder(classes, has_convolutions, has_expectations)
    encoder.load_state_dict(weights)
    return encoder.eval()
