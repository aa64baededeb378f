"""Version 1 of the protocol between camera and server: what travels, with its bounds.

The server validates with these models and the camera reads answers with them, so the two cannot drift
apart. Sizes are in pixels, bandwidth in megabytes per second, times in seconds unless the name says
milliseconds.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

MAX_SEQ = 2**53 - 1  # the largest integer that JSON readers and Redis scripts hold exactly
MAX_SIDE = 4096
MAX_FRAMES = 120
MAX_DROPPED = 256
SEGMENT_TYPE = "video/mp4"
PROBLEM_TYPE = "application/problem+json"

Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]
TargetMiou = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)]
DEFAULT_TARGET = 0.65
DEFAULT_SERVER = "http://127.0.0.1:8000"
MaskMode = Literal["none", "last", "all"]


class Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def example(**content: JsonValue) -> ConfigDict:
    """What the interface's description shows for a message; checked against the message by a test."""
    return ConfigDict(json_schema_extra={"examples": [content]})


class SegmentFormat(Message):
    """The segments that a camera agrees to send."""

    seconds: float = Field(1.0, gt=0, le=10, allow_inf_nan=False)
    fps: float = Field(15.0, gt=0, le=120, allow_inf_nan=False)
    width: int = Field(1280, ge=32, le=MAX_SIDE, multiple_of=2)
    height: int = Field(720, ge=32, le=MAX_SIDE, multiple_of=2)

    @property
    def frames(self) -> int:
        """Frames in one segment."""
        return round(self.seconds * self.fps)

    @model_validator(mode="after")
    def _holds_whole_frames(self) -> SegmentFormat:
        if not 1 <= self.frames <= MAX_FRAMES:
            raise ValueError(
                f"a segment must hold 1 to {MAX_FRAMES} frames, seconds x fps gives {self.frames}"
            )
        return self


NAME_PATTERN = r"^[\w .:@/+-]+$"


class Registration(Message):
    """Body of `POST /v1/clients`: the same name again updates the camera and returns the same id."""

    model_config = example(
        name="gate-north",
        target_miou=0.65,
        segment={"seconds": 1.0, "fps": 15.0, "width": 1280, "height": 720},
    )

    name: str = Field(min_length=1, max_length=128, pattern=NAME_PATTERN)
    target_miou: TargetMiou | None = Field(
        None, description=f"null: a camera that is known keeps its own, a new one gets {DEFAULT_TARGET}"
    )
    segment: SegmentFormat = SegmentFormat()


class CameraLimits(Message):
    """What one camera may use, within what its tenant may; null: as much as the tenant."""

    segments_per_s: Rate | None = None
    gflops_per_s: Rate | None = Field(None, description="FLOPs are 2 per multiply-add")
    bytes_per_s: Rate | None = Field(None, description="of uploads' bodies")


class CameraPatch(Message):
    """Body of `PATCH /v1/clients/{id}`: what is left out stays as it is; a limit that is null is none."""

    model_config = example(target_miou=0.7, limits={"bytes_per_s": 200_000, "gflops_per_s": None})

    target_miou: TargetMiou | None = None
    segment: SegmentFormat | None = None
    limits: CameraLimits | None = None


class LadderEntry(Message):
    """One configuration with its cost, normalised by the most expensive configuration's."""

    configuration: int
    scale: float
    qp: int
    variant: int
    cost: float


class CameraStatus(Message):
    """What the server holds about a camera: averages and counters change once per committed segment."""

    id: str
    name: str
    target_miou: float
    limits: CameraLimits = CameraLimits()
    segment: SegmentFormat
    next_seq: int
    segments: int = Field(description="accepted segments")
    dropped: int
    bytes: int
    cost_total: float
    cost_average: float | None
    deficit_average: float | None
    overuse_average: float | None
    last_configuration: int | None


class CameraName(Message):
    """One camera of a tenant's list."""

    id: str
    name: str


class CameraPage(Message):
    """A tenant's cameras in the order of their names."""

    cameras: tuple[CameraName, ...]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Registered(Message):
    """Answer to a registration. The token is shown once: the server keeps only its hash."""

    id: str
    token: str
    target_miou: TargetMiou = Field(description="in force now; answers tell when it changes")
    next_seq: int
    bundle: str
    classes: tuple[str, ...]
    ladder: tuple[LadderEntry, ...]
    codec: dict[str, str | int]
    signing_key: str | None = Field(
        None, max_length=64, description="whose signature bundles have: Ed25519, base64; a camera pins it"
    )


class VariantInfo(Message):
    variant: int
    name: str
    sparsity: float
    parameters: int
    gflops_frame: tuple[float, ...] = Field(description="GFLOPs of one frame at each scale of the ladder")


class LabelMaps(Message):
    """Label maps of one segment, lossless: only where a label differs from what its neighbours foretell.

    The XOR of each frame with the one before it and of each row with the one above it is mostly zeros. `data`
    holds what is not: for n such bytes in the order of a (frames, height, width) array, the steps from each
    to the next as uint32 (the first from -1), all their lowest bytes, then all their second ones, and so on,
    then the n bytes themselves; under zlib, in base64. `coding` `xor`, which older servers wrote, is zlib
    over all bytes, frames XORed only.
    """

    frames: int
    height: int
    width: int
    data: str = Field(description="base64")
    coding: Literal["xor", "steps"] = "xor"

    @classmethod
    def pack(cls, maps: NDArray[np.uint8]) -> LabelMaps:
        frames, height, width = maps.shape
        changes = maps.copy()
        changes[1:] ^= maps[:-1]
        changes[:, 1:] ^= changes[:, :-1].copy()
        flat = changes.reshape(-1)
        places = np.flatnonzero(flat)
        steps = np.diff(places, prepend=-1).astype("<u4").view(np.uint8).reshape(-1, 4)
        packed = zlib.compress(steps.T.tobytes() + flat[places].tobytes(), level=6)
        data = base64.b64encode(packed).decode()
        return cls(frames=frames, height=height, width=width, data=data, coding="steps")

    def unpack(self) -> NDArray[np.uint8]:
        """(frames, height, width) uint8 class ids. Raises `ValueError` if the data is not of that size."""
        size = self.frames * self.height * self.width
        most = size if self.coding == "xor" else 5 * size
        raw = np.frombuffer(zlib.decompressobj().decompress(base64.b64decode(self.data), most + 1), np.uint8)
        changes = raw
        if self.coding == "steps":
            count = len(raw) // 5
            steps = raw[: 4 * count].reshape(4, count).T.copy().view("<u4").reshape(-1)
            places = np.cumsum(steps, dtype=np.int64) - 1
            if len(raw) != 5 * count or (count and places[-1] >= size) or not steps.all():
                raise ValueError(f"label maps should have their changes within {size} bytes")
            changes = np.zeros(size, np.uint8)
            changes[places] = raw[4 * count :]
        if len(changes) != size:
            raise ValueError(f"label maps should unpack to {size} bytes, found {len(changes)}")
        rows = changes.reshape(self.frames, self.height, self.width)
        if self.coding == "steps":
            rows = np.bitwise_xor.accumulate(rows, axis=1)
        return np.bitwise_xor.accumulate(rows, axis=0)

    def last(self) -> LabelMaps:
        """The last frame's alone."""
        return self if self.frames == 1 else LabelMaps.pack(self.unpack()[-1:])


class Timings(Message):
    """Milliseconds by stage, as the server saw them."""

    receive: float = Field(description="from the first byte to the last of the body")
    queue: float = Field(description="waiting for the variant's replica, messages included")
    decode: float
    infer: float = Field(description="networks, upsampling and arg max")
    embed: float
    state: float = Field(description="looking the camera's state up; the commit comes after this is written")
    total: float = Field(description="from the first byte until the answer was ready to commit")


class SegmentAnswer(Message):
    """Answer to one segment; once given it never changes, however often the segment is sent again."""

    model_config = example(
        seq=17,
        configuration=42,
        bundle="lite-0123456789ab",
        embedding=None,
        predicted_miou=None,
        cost=0.146,
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
        masks=None,
        replayed=False,
    )

    seq: int
    configuration: int
    bundle: str
    embedding: tuple[float, ...] | None = Field(description="null until the bundle has a trained encoder")
    predicted_miou: float | None = Field(
        description="what the segment is expected to reach against variant 0 at the best setting"
    )
    cost: float = Field(description="normalised by the most expensive configuration")
    class_shares: dict[str, float] = Field(description="share of the segment's pixels by class")
    timings_ms: Timings
    masks: LabelMaps | None = None
    target_miou: float | None = Field(
        None,
        description="what to choose the next configurations by: below the camera's own target while the "
        "server is under pressure and the tenant consents",
    )
    correction: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="by how much audits of this camera found more accuracy than was predicted; 0 without any",
    )
    audit: bool = Field(
        False,
        description="whether the last frame is wanted again, at the best compression setting: "
        "PUT /v1/clients/{id}/segments/{seq}/audit, if the uplink has room",
    )
    bundle_wanted: str | None = Field(
        None, description="the bundle to go on with, where it is another than this segment's"
    )
    shed: tuple[Literal["label-maps"], ...] = Field((), description="left out under pressure")
    replayed: bool = False


class PromiseStatus(Message):
    """What audits certify of a camera, or of a tenant's cameras together, since their share last changed."""

    cameras: int = Field(description="cameras that are counted")
    segments: int = Field(description="accepted segments among which audits were drawn")
    dropped: int = Field(description="dropped segments, which failed")
    audits_asked: int
    audits_answered: int
    audits_failed: int = Field(description="segments whose audit showed less than their target mIoU")
    confidence: float
    failure_rate_at_most: float = Field(
        description="bound on the share of failed segments, true at every time at once with this confidence; "
        "audits that did not come count as failed"
    )
    failure_rate_at_least: float = Field(
        description="the same from below, from failures that were shown: above what is promised, it is broken"
    )


class Problem(Message):
    """RFC 9457 problem document: what was wrong, what was expected, what to do."""

    model_config = ConfigDict(extra="allow", frozen=True) | example(
        type="urn:penance:problem:stale",
        title="This segment's turn is over",
        status=409,
        detail="Segment 3 is not above the last accepted one, 9, and its answer is gone. Go on with 10.",
    )

    type: str
    title: str
    status: int
    detail: str
    retry_after_s: float | None = Field(
        None, ge=0, le=86_400, allow_inf_nan=False, description="exact, where Retry-After is whole seconds"
    )
