"""The adapter's network: separate FC layers for each part of the state, concatenated, FC (paper, 3.4.3, Fig.
13).

Actor, critic and the predictor of accuracies have this shape and share nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clients.state import NEVER, StateLayout

Part = Literal["constraints", "bytes", "embedding", "previous", "features"]
PARTS: tuple[Part, ...] = ("constraints", "bytes", "embedding", "previous", "features")


FARTHEST = 5.0
"""Standard deviations beyond which a state is like none seen in training, and how far says nothing."""


class AdapterArchitecture(BaseModel):
    """Widths, and which parts of the state are looked at; what a profile has no column for is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[Part, ...] = Field(PARTS, min_length=1)
    local: int = Field(default=64, gt=0, description="after each part's own layer")
    hidden: tuple[int, ...] = Field(default=(256, 128), min_length=1, description="after the concatenation")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="share of hidden values left out in training")
    masked: bool = Field(
        default=True, description="settings whose estimated bytes and a margin exceed B are never chosen"
    )


class PartsNetwork(nn.Module):
    """States (N, width) to (N, outputs). Values behind the state, such as a critic's, may follow in
    `extra`."""

    def __init__(
        self, layout: StateLayout, architecture: AdapterArchitecture, outputs: int, extra: int = 0
    ) -> None:
        super().__init__()
        slices = layout.slices
        self._slices = [slices[part] for part in architecture.parts if layout.widths[part]]
        if extra:
            self._slices.append(slice(layout.width, layout.width + extra))
        self.register_buffer("mean", torch.zeros(layout.width + extra))
        self.register_buffer("deviation", torch.ones(layout.width + extra))
        widths = [part.stop - part.start for part in self._slices]
        self.local = nn.ModuleList(nn.Linear(width, architecture.local) for width in widths)
        sides = [architecture.local * len(widths), *architecture.hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(sides):
            layers += [nn.Dropout(architecture.dropout), nn.Linear(a, b), nn.ReLU()]
        self.joint = nn.Sequential(*layers, nn.Linear(sides[-1], outputs))

    def forward(self, state: Tensor) -> Tensor:
        scaled = (state - cast(Tensor, self.mean)) / cast(Tensor, self.deviation)
        scaled = scaled.clamp(-FARTHEST, FARTHEST)
        parts = [torch.relu(layer(scaled[:, s])) for layer, s in zip(self.local, self._slices, strict=True)]
        result: Tensor = self.joint(torch.cat(parts, 1))
        return result

    @torch.no_grad()
    def standardise(self, states: Tensor) -> None:
        """Takes mean and deviation of the inputs from examples (M, width)."""
        cast(Tensor, self.mean).copy_(states.mean(0))
        cast(Tensor, self.deviation).copy_(states.std(0).clamp(min=1e-3))


class ActorNetwork(nn.Module):
    """States (N, width) to logits (N, configurations).

    Masked, a setting that is estimated at more than `exp(-margin)` of what fits gets `NEVER`, unless it is
    the smallest one.
    """

    def __init__(self, layout: StateLayout, architecture: AdapterArchitecture, configurations: int) -> None:
        super().__init__()
        self.body = PartsNetwork(layout, architecture, configurations)
        self._width, self._bytes = layout.width, layout.slices["bytes"]
        self._variants, self._masked = configurations // layout.settings, architecture.masked
        self.register_buffer("margin", torch.zeros(layout.settings))

    def forward(self, state: Tensor) -> Tensor:
        state = state[:, : self._width]  # the averages behind it are for the critic
        logits: Tensor = self.body(state)
        if not self._masked:
            return logits
        allowed = allowed_settings(state[:, self._bytes], cast(Tensor, self.margin))
        return logits.masked_fill(~allowed.repeat_interleave(self._variants, 1), NEVER)


def allowed_settings(shares: Tensor, margin: Tensor) -> Tensor:
    """(N, settings): whether estimated bytes and their margin fit, or none is smaller. shares: logarithms of
    estimated bytes over what fits."""
    return (shares + margin <= 0) | (shares <= shares.amin(1, keepdim=True))


def count_adapter_flops(networks: Sequence[nn.Module], width: int) -> int:
    """FLOPs of one decision by torch's counter, 2 per multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        for network in networks:
            network(torch.zeros(1, width))
    return int(counter.get_total_flops())
