"""The last frame's logits in 8 bits: what the performance encoder sees, small enough to keep for all 90.

Only differences between classes matter to a softmax, so each pixel's logits are stored below its highest one,
down to `DEEPEST`. Interpolating afterwards changes nothing of that: the highest one is taken from all alike.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STEPS, DEEPEST = 20, 9.0
"""Steps a unit, and how far below the highest logit they go: what lies further down has a probability of at
most 1.2e-4, and takes twice the place for it."""
COMPRESSION = "zstd"

Quantised = NDArray[np.uint8]  # (classes, rows, columns): steps below the pixel's highest logit


def quantise(logits: NDArray[np.floating]) -> Quantised:
    """(classes, rows, columns) logits in steps of a twentieth."""
    below = logits.max(0, keepdims=True).astype(np.float32) - logits.astype(np.float32)
    return np.asarray(np.rint(np.minimum(below, DEEPEST) * STEPS), np.uint8)


def restored(steps: Quantised) -> NDArray[np.float32]:
    """Logits whose highest is 0 at every pixel."""
    return np.asarray(steps.astype(np.float32) * np.float32(-1 / STEPS))


def softmax_error(logits: NDArray[np.floating]) -> float:
    """The largest difference that quantising makes to any probability."""
    return float(np.abs(_softmax(logits) - _softmax(restored(quantise(logits)))).max())


def packed(steps: Quantised) -> bytes:
    """Compressed: what a pixel differs from its neighbours above and to the left, modulo 256, takes two
    thirds of what the steps themselves take."""
    gradients = np.diff(np.diff(steps, axis=1, prepend=np.uint8(0)), axis=2, prepend=np.uint8(0))
    body: bytes = pa.compress(np.ascontiguousarray(gradients), codec=COMPRESSION, asbytes=True)
    return body


def unpacked(body: bytes, shape: tuple[int, int, int]) -> Quantised:
    """What `packed` was given."""
    raw = pa.decompress(body, decompressed_size=int(np.prod(shape)), codec=COMPRESSION)
    gradients = np.frombuffer(raw, np.uint8).reshape(shape)
    return gradients.cumsum(2, dtype=np.uint8).cumsum(1, dtype=np.uint8)


def _softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(0, keepdims=True))
    return np.asarray(powers / powers.sum(0, keepdims=True))
