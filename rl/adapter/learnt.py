"""Policies that were learnt: the adapter, the supervised competitor, DAO-C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from rl.adapter.end_to_end import EncodingActor
from rl.adapter.fleet import Cameras, Rows
from rl.adapter.network import ActorNetwork, PartsNetwork
from rl.adapter.policies import estimated, search
from rl.adapter.replay import Replay
from rl.profiles.choice import Known
from serving.miou import Floats
from serving.performance.network import EMBEDDING, PerformanceEncoder


@dataclass(frozen=True)
class Adapter:
    """The actor's likeliest configuration (paper, 3.4.3)."""

    replay: Replay
    actor: ActorNetwork | EncodingActor

    @torch.inference_mode()
    def choose(self, cameras: Cameras) -> Rows:
        states = torch.from_numpy(self.replay.layout.encode(cameras.seen))
        chosen: Rows = self.actor(states).argmax(1).numpy()
        return chosen


@dataclass(frozen=True)
class Supervised:
    """Predicts all accuracies from the state, then takes the cheapest configuration that is safe.

    Bytes are raised by a margin that was exceeded on few segments of other drives; the margin for accuracies
    is `Cautious`.
    """

    replay: Replay
    predictor: PartsNetwork  # states to logits of the accuracies of all configurations
    byte_margin: Floats  # (settings,) logarithms

    @torch.inference_mode()
    def choose(self, cameras: Cameras) -> Rows:
        states = torch.from_numpy(self.replay.layout.encode(cameras.seen))
        accuracy = self.predictor(states).sigmoid().double().numpy()
        known = estimated(self.replay, cameras, accuracy)
        variants = len(self.replay.ladder.variants)
        raised = known.bytes * np.exp(self.byte_margin).repeat(variants)
        return search(Known(raised, accuracy, known.costs, known.seconds), cameras)


@dataclass(frozen=True)
class FirstFrame:
    """DAO-C: predicts all accuracies from the first frame of the segment to come, and knows its true
    bytes."""

    replay: Replay
    accuracy: Floats  # (segments, configurations), predicted

    def choose(self, cameras: Cameras) -> Rows:
        now = self.replay.known.at(cameras.rows)
        return search(Known(now.bytes, self.accuracy[cameras.rows], now.costs, now.seconds), cameras)


class FirstFrameNetwork(nn.Module):
    """(N, 1, 180, 320) luma to (N, configurations) logits of accuracies; a small MobileNet."""

    def __init__(self, configurations: int) -> None:
        super().__init__()
        # Channels last: depthwise convolutions learn in half the time.
        self.body = PerformanceEncoder(classes=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = nn.Linear(EMBEDDING, configurations)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.body(frames))
        return found
