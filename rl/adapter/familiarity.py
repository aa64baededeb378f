"""How much better a family does on streets that it was trained on, and what to learn from them nevertheless.

The pruned variants agree with variant 0 more on the drives of their own training than anywhere else, also
where the softmax looks the same. Who learns accuracies from these drives expects too much of all others. So
each variant's advantage there is estimated, beside what its softmax says, and taken off before anything is
learnt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.miou import Floats

RIDGE = 0.02
"""Penalty on the weights of standardised expectations, as a share of the segments' own weight."""
FRAME = 13
"""Expectations of the frame as a whole come first (`serving.performance.expectations`)."""


def advantages(
    expectations: Floats, miou: Floats, variants: NDArray[np.int64], familiar: NDArray[np.bool_]
) -> Floats:
    """(configurations,): by how much more a configuration agrees on familiar segments.

    expectations: (segments, configurations, count); miou: (segments, configurations); variants:
    (configurations,); familiar: (segments,). All zeros where all segments, or none, are familiar.
    """
    if familiar.all() or not familiar.any():
        return np.zeros(miou.shape[1])
    segments, configurations = miou.shape
    own = np.eye(variants.max() + 1)[variants]  # (configurations, variants)
    frame = expectations[..., :FRAME, None] * own[None, :, None, :]
    told = np.concatenate([frame.reshape(segments, configurations, -1), expectations[..., FRAME:]], 2)
    told = told.reshape(segments * configurations, -1)
    told = (told - told.mean(0)) / np.maximum(told.std(0), 1e-3)
    places = np.broadcast_to(own, (segments, *own.shape)).reshape(len(told), -1)
    inputs = np.concatenate([told, places, places * familiar.repeat(configurations)[:, None]], 1)
    penalty = np.zeros(inputs.shape[1])
    penalty[: told.shape[1]] = RIDGE * len(told)
    weights = np.linalg.solve(inputs.T @ inputs + np.diag(penalty), inputs.T @ miou.ravel())
    return np.asarray(weights[-own.shape[1] :][variants])
