"""Transitions: what cameras chose and what came of it, as learning reads it; one JSON object a line.

A state of the paper's Eq. (4) has five parts. Constraints and the configuration stand in the line itself, the
embedding that the camera went by in the line of the segment `feedback`, and what only the camera knew, its
estimates and features, in `seen`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from clients.protocol import Message, Seq, TargetMiou

MAX_SEEN = 2048
"""Characters: 768 values as float16."""

SEEN_PATTERN = r"^[A-Za-z0-9_=-]*$"
LINES_TYPE = "application/x-ndjson"

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Transition(Message):
    """One committed segment."""

    kind: Literal["segment"] = "segment"
    camera: str
    id: str = Field(description="milliseconds since 1970 and a number")
    seq: Seq
    bundle: str = Field("", max_length=128, description="that answered; older entries name none")
    configuration: int = Field(ge=0)
    probability: float | None = Field(gt=0, le=1, description="with which the policy gave its choice")
    feedback: Seq | None = Field(description="the segment whose embedding the policy went by")
    seen: str = Field(max_length=MAX_SEEN, description="estimates and features, see `pack_seen`")
    bytes: int = Field(ge=0)
    bandwidth: Finite | None = Field(description="megabytes per second")
    target: TargetMiou
    cost: Finite
    deficit: Finite | None = Field(description="target less predicted mIoU")
    overuse: Finite | None = Field(description="megabytes")
    embedding: str = Field(max_length=4096, description="of this segment: base64 of float32, may be empty")


class AuditedTransition(Message):
    """What an audit showed of a segment before."""

    kind: Literal["audit"] = "audit"
    camera: str
    id: str
    seq: Seq
    miou: float = Field(ge=0, le=1)


TransitionLine = Annotated[Transition | AuditedTransition, Field(discriminator="kind")]
TRANSITION_LINE: TypeAdapter[Transition | AuditedTransition] = TypeAdapter(TransitionLine)


def pack_seen(sizes: NDArray[np.float64], features: NDArray[np.float32]) -> str:
    """Estimated bytes (settings,) and the estimator's features (features,) as base64 of float16; bytes as
    their natural logarithms."""
    values = np.concatenate([np.log(np.maximum(sizes, 1)), features]).astype("<f2")
    return base64.urlsafe_b64encode(values.tobytes()).decode()


def unpack_seen(text: str, settings: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The inverse of `pack_seen`. Raises `ValueError` where it holds no estimate for each setting."""
    values = np.frombuffer(_decoded(text, base64.urlsafe_b64decode, 2), "<f2")
    if len(values) < settings or not np.isfinite(values).all():
        raise ValueError(f"expected finite estimates of {settings} settings, found {len(values)} values")
    return np.exp(values[:settings].astype(np.float64)), values[settings:].astype(np.float32)


def unpack_embedding(text: str) -> NDArray[np.float32]:
    """(embedding,) of a line. Raises `ValueError`."""
    return np.frombuffer(_decoded(text, base64.b64decode, 4), "<f4")


def _decoded(text: str, decode: Callable[[str], bytes], size: int) -> bytes:
    try:
        raw = decode(text)
    except binascii.Error as error:
        raise ValueError(f"expected base64, found {text[:20]!r}") from error
    if len(raw) % size:
        raise ValueError(f"expected numbers of {size} bytes, found {len(raw)} bytes")
    return raw
