"""Messages of the live view: how a tenant's cameras and the platform stand just now. Times are Unix
seconds.
"""

from __future__ import annotations

from pydantic import Field

from clients.administration import Scope
from clients.alerts import Alert
from clients.protocol import LadderEntry, Message, PromiseStatus
from clients.results import Retention


class CameraLive(Message):
    """One camera as its state has it."""

    id: str
    name: str
    target_miou: float
    segments: int = Field(description="accepted segments")
    dropped: int
    last_at: float | None = Field(description="when its last segment was committed; null: none yet")
    last_configuration: int | None
    cost_total: float = Field(description="of accepted and dropped segments, 1 each at the most expensive")
    cost_average: float | None
    deficit_average: float | None = Field(description="target less accuracy, as predicted and audited")
    overuse_average: float | None = Field(description="megabytes above what the uplink allowed")
    promise: PromiseStatus


class PlatformLoad(Message):
    """What all ingress replicas have in hand."""

    replicas: int
    lanes: int = Field(description="segments that may be at work at once")
    running: int
    waiting: int
    backlog_s: float = Field(
        description="seconds that all waiting segments would take, the longest replica's"
    )
    left_out: str = Field(description="what is left out under pressure: nothing, audits, label-maps, ...")


class LiveView(Message):
    """Answer to `GET /v1/live`."""

    at: float
    tenant: str
    scope: Scope = Field(description="of the key that asked")
    bundle: str
    classes: tuple[str, ...]
    colours: tuple[str, ...] = Field(description="#rrggbb by class")
    ladder: tuple[LadderEntry, ...]
    failure_rate: float = Field(description="promised to the tenant")
    silent_after_s: float
    promise: PromiseStatus = Field(description="of all its cameras together")
    retention: Retention
    cameras: tuple[CameraLive, ...]
    alerts: tuple[Alert, ...] = Field(description="open ones")
    load: PlatformLoad
