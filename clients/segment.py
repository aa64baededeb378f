"""A segment on its way through the camera: captured, compressed, answered or dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clients.policy import Choice
from clients.protocol import SegmentAnswer
from clients.source import Frame
from configs.ladder import Configuration

DropReason = Literal["backlog", "late", "refused", "unanswered"]
"""Why a segment was dropped: a newer one took its place while it waited; it was not uploaded whole within
T; the server refused it; or the camera ended before the server's answer came."""


@dataclass(frozen=True, slots=True)
class CapturedSegment:
    """Frames as the source gave them, with the seq that they keep whatever happens."""

    seq: int
    frames: list[Frame]
    captured_at: float  # unix seconds at which the last frame was there
    ready_at: float  # the same moment on time.monotonic


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """A captured segment compressed at the configuration that the policy chose."""

    captured: CapturedSegment
    configuration: Configuration
    bundle: str
    data: bytes
    encode_ms: float
    encoded_at: float  # on time.monotonic; from then on it may take T to be uploaded
    choice: Choice
    feedback: int | None = None  # seq of the segment whose embedding the choice went by
    ladder: tuple[Configuration, ...] = ()  # the bundle's

    @property
    def seq(self) -> int:
        return self.captured.seq


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What became of one segment: `answer` is set, or else `dropped` says why there is none.

    Times are in milliseconds and are None for stages that the segment did not reach: `upload_ms` until the
    last byte was sent, `round_trip_ms` of the attempt that was answered, `latency_ms` from the last frame's
    capture to the answer in hand.
    """

    seq: int
    configuration: Configuration
    captured_at: float
    bundle: str
    frames: list[Frame]  # empty for dropped segments, so that a long outage holds no memory
    bytes: int | None = None
    estimated_bytes: float | None = None  # before it was compressed, by a policy that estimates
    answer: SegmentAnswer | None = None
    dropped: DropReason | None = None
    detail: str | None = None
    encode_ms: float | None = None
    upload_ms: float | None = None
    round_trip_ms: float | None = None
    latency_ms: float | None = None
    attempts: int = 0
    bandwidth: float | None = None  # MB/s, as measured after this segment


def dropped_segment(
    segment: CapturedSegment | EncodedSegment,
    configuration: Configuration,
    bundle: str,
    reason: DropReason,
    detail: str | None = None,
    attempts: int = 0,
) -> SegmentResult:
    """The result of a segment that was not answered."""
    captured = segment.captured if isinstance(segment, EncodedSegment) else segment
    encoded = segment if isinstance(segment, EncodedSegment) else None
    return SegmentResult(
        seq=captured.seq,
        configuration=configuration,
        captured_at=captured.captured_at,
        bundle=bundle,
        frames=[],
        bytes=len(encoded.data) if encoded else None,
        estimated_bytes=encoded.choice.estimated_bytes if encoded else None,
        dropped=reason,
        detail=detail,
        encode_ms=encoded.encode_ms if encoded else None,
        attempts=attempts,
    )
