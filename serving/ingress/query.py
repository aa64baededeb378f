"""The parameters of an upload, validated: names, bounds and words of the protocol."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from clients.administration import KEY_ID_PATTERN, MAX_PAGE, TENANT_PATTERN
from clients.protocol import MAX_DROPPED, MAX_SEQ, NAME_PATTERN, SEGMENT_TYPE, MaskMode
from clients.transitions import MAX_SEEN, SEEN_PATTERN
from configs.ladder import Ladder
from serving.problems import Invalid
from serving.state.transitions import Decision

CameraId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="id from the registration")]
KeyIdPath = Annotated[str, Path(pattern=KEY_ID_PATTERN, description="what stands before the dot of a key")]
TenantPath = Annotated[str, Path(pattern=TENANT_PATTERN)]
TenantQuery = Annotated[str | None, Query(pattern=TENANT_PATTERN, description="only this tenant's")]
AfterKeyQuery = Annotated[
    str, Query(pattern=r"^([a-z0-9-]{0,63}/[A-Za-z0-9_-]{8,32})?$", description="`next` of the page before")
]
AfterEntryQuery = Annotated[
    str, Query(pattern=r"^(\d{1,15}-\d{1,9})?$", description="`next` of the page before")
]
NameQuery = Annotated[
    str | None, Query(min_length=1, max_length=128, pattern=NAME_PATTERN, description="only this camera")
]
AfterNameQuery = Annotated[str, Query(max_length=128, description="`next` of the page before")]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_PAGE, description="entries on a page")]
SeqPath = Annotated[int, Path(ge=0, le=MAX_SEQ, description="the segment's number, rising by camera")]
BundleQuery = Annotated[str, Query(max_length=128, description="id of the bundle that the camera works with")]
SEGMENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {SEGMENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}
"""How a body of video stands in the interface's description."""


class SegmentParameters(BaseModel):
    """What goes with a segment's bytes: the query of a PUT, and the head of an upload on a connection."""

    model_config = ConfigDict(frozen=True)

    configuration: int = Field(ge=0, description="index on the bundle's ladder", examples=[42])
    bundle: str = Field(max_length=128, description="id of the bundle that the camera works with")
    bandwidth: float | None = Field(
        None, ge=0, le=1e6, allow_inf_nan=False, description="measured uplink, megabytes per second"
    )
    target: float | None = Field(None, ge=0, le=1, allow_inf_nan=False, description="target mIoU")
    deadline_ms: float | None = Field(
        None, gt=0, le=600_000, allow_inf_nan=False, description="milliseconds from the first byte"
    )
    captured_at: float | None = Field(
        None,
        ge=0,
        le=1e12,
        allow_inf_nan=False,
        description="when the last frame was taken, Unix seconds",
    )
    dropped: str = Field(
        "",
        max_length=MAX_DROPPED * 24,
        pattern=r"^(\d{1,16}:\d{1,4}(,\d{1,16}:\d{1,4})*)?$",
        description="segments dropped since the last answer, as seq:configuration,seq:configuration",
        examples=["17:42"],
    )
    masks: MaskMode = Field("none", description="which label maps the answer shall hold")
    probability: float | None = Field(
        None, gt=0, le=1, allow_inf_nan=False, description="with which the policy gave this configuration"
    )
    feedback: int | None = Field(
        None, ge=0, le=MAX_SEQ, description="the segment whose embedding the policy went by"
    )
    seen: str = Field(
        "",
        max_length=MAX_SEEN,
        pattern=SEEN_PATTERN,
        description="what else the policy saw: base64 of float16, kept for learning",
    )


MapsQuery = Annotated[
    MaskMode, Query(description="which label maps to read along, as far as the tenant keeps them")
]


def parse_dropped(text: str, seq: int, ladder: Ladder) -> tuple[tuple[int, int], ...]:
    """The dropped segments in rising order, each below `seq` and named once. Raises `Invalid`."""
    pairs = [tuple(map(int, part.split(":"))) for part in text.split(",") if part]
    if len(pairs) > MAX_DROPPED:
        raise Invalid(f"At most {MAX_DROPPED} dropped segments can be reported at once, found {len(pairs)}.")
    numbers = [number for number, _ in pairs]
    if len(set(numbers)) != len(numbers):
        raise Invalid("A dropped segment was named twice. Name each once.")
    for number, configuration in pairs:
        if number >= seq:
            raise Invalid(f"Dropped segment {number} is not below this segment, {seq}.")
        check_configuration(configuration, ladder)
    return tuple((number, configuration) for number, configuration in sorted(pairs))


def read_decision(seq: int, probability: float | None, feedback: int | None, seen: str) -> Decision:
    """How the camera came to its choice. Raises `Invalid`."""
    if feedback is not None and feedback >= seq:
        raise Invalid(f"Feedback comes from a segment before this one, {seq}, not from {feedback}.")
    return Decision(probability, feedback, seen)


def check_configuration(index: int, ladder: Ladder) -> None:
    if index >= len(ladder):
        raise Invalid(f"Configuration {index} is not on the ladder: it has 0 to {len(ladder) - 1}.")
