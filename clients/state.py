"""The adapter's state, Eq. (4) of the paper, as one vector: the same arithmetic on cameras and in training.

`s_i = (A_i, B_i, b_i, p, a, x_i)`: constraints, estimated bytes of every setting, embedding of the latest
answered segment with the configuration that made it and its age, and the bitrate estimator's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from configs.ladder import Configuration

MEGABYTE = 1e6
OLDEST = 4
"""Ages from here on look alike; 0 stands for no feedback."""

NONE = -1  # the configuration of no feedback
NEVER = -1e9
"""An adapter's logit of what is masked."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeenStates:
    """What is known of n cameras before they choose."""

    target: Floats  # (n,) A
    bandwidth: Floats  # (n,) B, MB/s
    bytes: Floats  # (n, settings) estimated
    embedding: NDArray[np.float32]  # (n, embedding); zeros without feedback
    made_by: NDArray[np.int64]  # (n,) configuration that made the embedding; NONE without feedback
    age: NDArray[np.int64]  # (n,) segments since then, from 1 on; 0 without feedback
    features: NDArray[np.float32]  # (n, features)


class StateLayout:
    """Where in the vector each part of the state stands, for one ladder."""

    def __init__(
        self, configurations: Sequence[Configuration], embedding: int, features: int, seconds: float = 1.0
    ) -> None:
        self.seconds = seconds
        self._configurations = tuple(configurations)
        self._scales = sorted({c.scale for c in configurations}, reverse=True)
        self._qps = sorted({c.qp for c in configurations})
        self._variants = sorted({c.variant for c in configurations})
        self.settings = len(self._scales) * len(self._qps)
        described = len(self._scales) + len(self._qps) + len(self._variants)
        self.widths = {
            "constraints": 2,
            "bytes": self.settings,
            "embedding": embedding,
            "previous": described + OLDEST + 1,
            "features": features,
        }

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Each part's place, by name."""
        ends = np.cumsum(list(self.widths.values())).tolist()
        return {
            name: slice(end - self.widths[name], end) for name, end in zip(self.widths, ends, strict=True)
        }

    @property
    def width(self) -> int:
        return sum(self.widths.values())

    def encode(self, seen: SeenStates) -> NDArray[np.float32]:
        """(n, width). Bytes stand as logarithms of their share of what fits: 0 is just as much as B
        allows."""
        budget = seen.bandwidth * self.seconds * MEGABYTE
        constraints = np.stack([seen.target, seen.bandwidth], 1)
        shares = np.log(seen.bytes / budget[:, None])
        ages = np.eye(OLDEST + 1)[np.minimum(seen.age, OLDEST)]
        previous = np.concatenate([self.described[seen.made_by], ages], 1)
        parts = (constraints, shares, seen.embedding, previous, seen.features)
        return np.concatenate(parts, 1, dtype=np.float32)

    @cached_property
    def described(self) -> Floats:
        """(configurations + 1, scales + QPs + variants): one-hot each; the last row, NONE, is all zeros."""
        rows = [
            np.concatenate(
                [
                    np.equal(self._scales, c.scale),
                    np.equal(self._qps, c.qp),
                    np.equal(self._variants, c.variant),
                ]
            )
            for c in self._configurations
        ]
        return np.vstack([rows, np.zeros(len(rows[0]))]).astype(np.float64)
