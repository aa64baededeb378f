"""The bitrate estimator's network (paper, 3.2.2, Fig. 10): half-size luma in, bytes of all settings out.

A group convolution with weights of its own for each frame position, two MobileNetV2 blocks whose depthwise
convolutions are dilated, an average pool, two FC layers, and two branches: the base size and the other
settings' ratios to it. The receptive field is 83 pixels of the input, 166 of the video, which covers how far
the codec searches for motion. Beside them may stand energies measured by hand (`rl.bitrate.energies`); then
the outputs are those of a linear anchor on them, and the branches tell what it leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clients.luma import BLANK, INPUT_SIZE
from rl.bitrate.energies import Energies, OperationCounter
from rl.bitrate.recipe import BitrateRecipe, EstimatorArchitecture

POOL = 8
STRIDE = 8
MEGABYTE = 1e6


class DilatedBlock(nn.Module):
    """MobileNetV2's block with stride 2 and a depthwise convolution of dilation 2; without `inner`, as in
    MobileNetV2's own first block, nothing is expanded."""

    def __init__(self, channels_in: int, channels_out: int, inner: int | None = None) -> None:
        super().__init__()
        width = inner or channels_in
        expand = [] if inner is None else [*_norm(nn.Conv2d(channels_in, inner, 1, bias=False))]
        depthwise = nn.Conv2d(width, width, 3, 2, 2, dilation=2, groups=width, bias=False)
        project = nn.Conv2d(width, channels_out, 1, bias=False)
        self.body = nn.Sequential(*expand, *_norm(depthwise), project, nn.BatchNorm2d(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y


def _norm(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU6(inplace=True)]


class EstimatorNetwork(nn.Module):
    """Luma (N, places, 360, 640) of 0..255 to (N, settings) and features (N, hidden).

    What the outputs mean is the recipe's business (`bytes_of`): the base first, then the ratios.
    """

    def __init__(self, architecture: EstimatorArchitecture, places: int, settings: int) -> None:
        super().__init__()
        shape = self.architecture = architecture
        self.frames = nn.Sequential(*_norm(nn.Conv2d(places, places, 3, 2, 1, groups=places, bias=False)))
        self.blocks = nn.Sequential(
            DilatedBlock(places, shape.first), DilatedBlock(shape.first, shape.second, shape.inner)
        )
        self.pool = nn.AvgPool2d(POOL, ceil_mode=True)  # 45 rows are 5 pools and a part: none is left out
        cells = 1
        if shape.head == "flat":
            cells = math.prod(math.ceil(side / STRIDE / POOL) for side in INPUT_SIZE)
        self.hidden = nn.Linear(shape.second * cells, shape.hidden)
        self.base = nn.Linear(shape.hidden, 1)
        self.ratios = nn.Linear(shape.hidden, settings - 1)
        self.energies, self.anchor = Energies(), None
        if shape.energies:
            with torch.no_grad():
                count = self.energies(torch.zeros(1, places, *INPUT_SIZE)).shape[1]
            self.anchor = nn.Linear(count, settings)

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        features = self.hidden_of(self.pooled(luma))
        return self.outputs(features, luma), features

    def outputs(self, features: Tensor, luma: Tensor, frames: Sequence[Tensor] | None = None) -> Tensor:
        """(N, settings): the branches, on top of the anchor where there is one. `frames` as `frames_of`
        gives them, where they are there already."""
        left = self.branches(features)
        return left if self.anchor is None else left + self.anchor(self.energies(luma, frames))

    def pooled(self, luma: Tensor) -> Tensor:
        """(N, second, 6, 10): what the convolutions see, by place."""
        cells: Tensor = self.pool(self.blocks(self.frames(self.prepared(luma))))
        return cells

    def hidden_of(self, pooled: Tensor) -> Tensor:
        """(N, hidden) features, from which both branches read."""
        if self.architecture.head == "flat":
            return torch.relu(self.hidden(pooled.flatten(1)))
        return torch.relu(self.hidden(pooled.flatten(2).transpose(1, 2))).mean(1)

    def branches(self, features: Tensor) -> Tensor:
        """(N, settings): the base, then the ratios."""
        return torch.cat([self.base(features), self.ratios(features)], 1)

    def prepared(self, luma: Tensor) -> Tensor:
        """What the first layer sees: (N, places, 360, 640) around 0."""
        around = luma.float() - BLANK
        if not self.architecture.differences:
            return around / BLANK
        return torch.cat([around[:, :1], around[:, 1:] - around[:, :-1]], 1)


def make_network(recipe: BitrateRecipe, places: int, settings: int) -> EstimatorNetwork:
    """An untrained network with weights reproducible by the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return EstimatorNetwork(recipe.architecture, places, settings)


def bytes_of(outputs: Tensor, recipe: BitrateRecipe) -> Tensor:
    """(N, settings) bytes from a network's outputs (N, settings): base in megabytes and ratios to it, plain
    or as logarithms. Plain outputs may be anything; no size is below one byte."""
    base, ratios = outputs[:, :1], outputs[:, 1:]
    if recipe.targets == "log":
        base, ratios = base.exp(), ratios.exp()
    return (MEGABYTE * torch.cat([base, base * ratios], 1)).clamp(min=1.0)


def count_estimator_flops(architecture: EstimatorArchitecture, places: int, settings: int) -> int:
    """FLOPs of one segment: those of layers by torch's counter, 2 per multiply-add, and those of the
    energies, of which that counter knows nothing, one by one."""
    with torch.device("meta"):
        network = EstimatorNetwork(architecture, places, settings).eval()
        luma = torch.empty(1, places, *INPUT_SIZE)
    layers, operations = FlopCounterMode(display=False), OperationCounter()
    with layers, torch.no_grad():
        network(luma)
    if architecture.energies:
        with operations, torch.no_grad():
            network.energies(luma)
    return int(layers.get_total_flops()) + operations.total
