"""What the ingress, the variants and the encoder send each other. Without PyTorch, which an ingress has no
use for: it would take two seconds of every start and 150 MB of every replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.codec import DecodeLimits
from clients.protocol import LabelMaps, MaskMode


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """A segment on its way to a variant of the bundle that it names. `expires_at` is wall-clock time, the
    same on all processes here."""

    bundle: str
    data: bytes
    expected: DecodeLimits
    masks: MaskMode
    expires_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a segment was not segmented: its bytes are at fault, it could not be done in time, or the replica
    does not hold the bundle that it names."""

    kind: Literal["undecodable", "late", "bundle"]
    reason: str


@dataclass(frozen=True, slots=True)
class Logits:
    """The last frame's logits, never apart from the bundle whose network gave them."""

    bundle: str
    values: NDArray[np.float16]  # (classes, rows, columns)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a variant made of a segment."""

    class_shares: tuple[float, ...]
    logits: Logits
    masks: LabelMaps | None
    decode_ms: float
    infer_ms: float
    busy_ms: float  # from taking the job to giving the result


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the encoder of this bundle makes of one frame's softmax."""

    bundle: str
    embedding: tuple[float, ...]
    trained: bool  # whether the encoder ever was
    confidence: float  # mean over the frame's pixels of the highest probability
    accuracy: tuple[float, float, float] | None = None  # lower end, middle, upper end; None without a head
