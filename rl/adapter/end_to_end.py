"""The performance encoder learning on together with the adapter, through the reward (paper, 3.4).

A full-size softmax in every observation would move gigabytes. So observations carry where it lies in the
profile, two numbers in place of the embedding, and the network reads and encodes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from rl.adapter.encoder import embed_segment
from rl.adapter.network import ActorNetwork
from rl.adapter.replay import Replay
from rl.adapter.shown import Shown
from serving.performance.network import EMBEDDING, PerformanceEncoder

POINTER = 2
"""Width of what stands in the embedding's place: row + 1 (0: no feedback) and configuration."""


@dataclass(frozen=True)
class Joint:
    """An encoder that goes on learning, and what it sees of which segments."""

    encoder: PerformanceEncoder
    shown: Shown
    rows: Mapping[tuple[str, int], int]  # by clip and time

    @classmethod
    def of(cls, encoder: PerformanceEncoder, shown: Shown, whole: Replay) -> Joint:
        """`shown` has the rows of `whole`."""
        keys = zip(whole.clips.tolist(), whole.times.tolist(), strict=True)
        return cls(encoder, shown, {key: row for row, key in enumerate(keys)})

    def pointing(self, part: Replay) -> Replay:
        """Some of the segments, with pointers in place of embeddings."""
        pointers = np.empty((len(part), len(part.ladder), POINTER), np.float32)
        pointers[..., 0] = np.array(self._rows(part))[:, None] + 1
        pointers[..., 1] = np.arange(len(part.ladder))
        return part.with_embeddings(pointers)

    def embedded(self, part: Replay) -> Replay:
        """Some of the segments, with the embeddings that the encoder gives now."""
        self.encoder.eval()
        rows = [embed_segment(self.encoder, self.shown, row, len(part.ladder)) for row in self._rows(part)]
        return part.with_embeddings(np.stack(rows).astype(np.float16))

    def _rows(self, part: Replay) -> list[int]:
        return [self.rows[clip, time] for clip, time in zip(part.clips, part.times.tolist(), strict=True)]


class EncodingActor(nn.Module):
    """The adapter with the performance encoder before it: states with pointers to logits."""

    def __init__(self, actor: ActorNetwork, encoder: PerformanceEncoder, shown: Shown, begins: int) -> None:
        """begins: where the embedding stands in a state."""
        super().__init__()
        self.actor, self.encoder = actor, encoder
        self._shown, self._begins = shown, begins

    def train(self, mode: bool = True) -> Self:
        """The encoder's batch norms stay as they were pre-trained: minibatches are small and alike."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, pointing: Tensor) -> Tensor:
        logits: Tensor = self.actor(self.encoded(pointing))
        return logits

    def encoded(self, pointing: Tensor) -> Tensor:
        """States (N, width) with pointers to states with embeddings; zeros without feedback."""
        ends = self._begins + POINTER
        row, made_by = pointing[:, self._begins : ends].long().unbind(1)
        known = row > 0
        embedding = pointing.new_zeros(len(pointing), EMBEDDING)
        if known.any():
            rows, choices = (row[known] - 1).numpy(), made_by[known].numpy()
            embedding[known] = self._shown.embedded(self.encoder, rows, choices)
        return torch.cat([pointing[:, : self._begins], embedding, pointing[:, ends:]], 1)
