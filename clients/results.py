"""Messages of results: what was answered to cameras, for programs that use it (`docs/results.md`).

They come as server-sent events, each committed segment once, in the order of the commits. Times are Unix
seconds, bandwidth is in megabytes per second.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from clients.protocol import LabelMaps, MaskMode, Message, Seq, Timings, example

EVENTS_TYPE = "text/event-stream"
EVENT_ID_PATTERN = r"^\d{1,15}-\d{1,16}$"
MAX_WINDOW_S = 3600.0


class Result(Message):
    """Event `result`: one committed segment. On a camera's own stream its seq is the event's id."""

    model_config = example(
        camera="3q2-7wAAAAAAAAAA",
        seq=17,
        at=1795715474.25,
        captured_at=1795715473.5,
        previous=16,
        dropped=[],
        bundle="lite-0123456789ab",
        configuration=42,
        cost=0.146,
        predicted_miou=0.71,
        target_miou=0.65,
        class_shares={"road": 0.41, "vegetation": 0.28, "sky": 0.22, "car": 0.09},
        timings_ms={
            "receive": 3.1,
            "queue": 1.9,
            "decode": 34.0,
            "infer": 212.5,
            "embed": 9.8,
            "state": 0.7,
            "total": 262.0,
        },
        bytes=61_440,
        bandwidth=0.8,
        masks=None,
    )

    camera: str
    seq: Seq
    at: float = Field(description="when it was committed")
    captured_at: float | None = Field(description="when its last frame was taken, as the camera says")
    previous: Seq | None = Field(description="the camera's segment that was committed before; null at first")
    dropped: tuple[Seq, ...] = Field(description="segments that were counted as dropped with this one")
    bundle: str
    configuration: int = Field(description="index on the bundle's ladder")
    cost: float = Field(description="normalised by the most expensive configuration")
    predicted_miou: float | None = Field(description="with what the camera's audits correct")
    target_miou: float
    class_shares: dict[str, float]
    timings_ms: Timings
    bytes: int = Field(description="of the upload's body")
    bandwidth: float | None
    masks: LabelMaps | None = Field(
        None, description="where they were asked for, made, and are held: the newest segments' only"
    )


class AuditResult(Message):
    """Event `audit`: what a segment before was really worth. It may come again after a reconnection."""

    camera: str
    seq: Seq
    at: float
    miou: float = Field(ge=0, le=1, description="of the last frame, against variant 0 at the best setting")


class Gap(Message):
    """Event `gap`: the window moved on while nobody listened; results between these two are lost."""

    camera: str
    after: Seq = Field(description="the Last-Event-ID")
    next: Seq | None = Field(description="the oldest that is held; null if none is")


class Retention(Message):
    """What a tenant's results leave behind on the server, and for how long. Frames never are."""

    window_s: float = Field(
        120.0,
        ge=1,
        le=MAX_WINDOW_S,
        allow_inf_nan=False,
        description="how long results can be read again; the server's bounds in number hold besides",
    )
    label_maps: MaskMode = Field(
        "last", description="which of a segment's label maps are kept for readers, within the window"
    )


class RetentionPatch(Message):
    """Body of `PATCH /v1/tenants/{tenant}/retention`: what is left out stays, null is the default again."""

    model_config = example(window_s=60, label_maps="none")

    window_s: Annotated[float, Field(ge=1, le=MAX_WINDOW_S, allow_inf_nan=False)] | None = None
    label_maps: Literal["none", "last", "all"] | None = None
