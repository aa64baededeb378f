"""Messages of administration: keys, tenants' limits and promises, and the log of what was done with them.

Times are Unix seconds. A key's secret travels once, in the answer that made it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from clients.protocol import Message, Rate, example

Scope = Literal["tenant", "read-only", "camera", "operator"]
TENANT_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
KEY_ID_PATTERN = r"^[A-Za-z0-9_-]{8,32}$"
MAX_PAGE = 500

Cameras = Annotated[int, Field(ge=0, le=1_000_000)]
Share = Annotated[float, Field(gt=0, le=1000)]
Lenience = Annotated[float, Field(ge=0, le=0.3)]
FailureRate = Annotated[float, Field(gt=0, lt=1)]
SilentAfter = Annotated[float, Field(ge=1, le=2_592_000)]
TenantName = Annotated[str, Field(pattern=TENANT_PATTERN)]


class NewKey(Message):
    """Body of `POST /v1/keys`. A tenant exists as soon as it has a key; an operator has no tenant."""

    tenant: TenantName | None = None
    scope: Literal["tenant", "read-only", "operator"] = "tenant"
    label: str = Field("", max_length=128, pattern=r"^[\w .:@/+-]*$", description="for people")

    @model_validator(mode="after")
    def _has_a_tenant_unless_operator(self) -> NewKey:
        if (self.tenant is None) != (self.scope == "operator"):
            raise ValueError("name a tenant for a tenant's or read-only key, and none for an operator's")
        return self


class KeyInfo(Message):
    """What is known of a key; its secret is not."""

    id: str
    tenant: str | None = Field(description="null for an operator's key")
    scope: Scope
    label: str
    created_at: float | None = Field(description="null for keys older than this record")
    revoked_at: float | None = None


class IssuedKey(Message):
    """A new key, shown once."""

    id: str
    key: str = Field(description="id.secret")
    tenant: str | None
    scope: Scope
    label: str


class KeyPage(Message):
    """Keys in the order of tenant and id."""

    keys: tuple[KeyInfo, ...]
    next: str | None = Field(description="`after` of the next page; null on the last")


class TenantLimits(Message):
    """What a tenant may use, and what it is promised. The rates are token buckets that hold a few seconds'
    worth."""

    cameras: Cameras
    segments_per_s: Rate
    gflops_per_s: Rate = Field(description="FLOPs are 2 per multiply-add")
    bytes_per_s: Rate = Field(description="of uploads' bodies")
    share: Share = Field(1.0, description="its weight among tenants when there is a queue")
    lenience: Lenience = Field(
        0.0,
        description="mIoU by which its targets may be lowered under pressure; 0: not at all",
    )
    failure_rate: FailureRate = Field(
        0.1, description="promised: at most this share of segments falls short of its target"
    )
    silent_after_s: SilentAfter = Field(
        60.0, description="without a segment for so long, a camera is called silent"
    )


class LimitsPatch(Message):
    """Body of `PATCH /v1/tenants/{tenant}/limits`: what is left out stays, null is the default again."""

    model_config = example(cameras=50, gflops_per_s=5000)

    cameras: Cameras | None = None
    segments_per_s: Rate | None = None
    gflops_per_s: Rate | None = None
    bytes_per_s: Rate | None = None
    share: Share | None = None
    lenience: Lenience | None = None
    failure_rate: FailureRate | None = None
    silent_after_s: SilentAfter | None = None


class AuditEntry(Message):
    """One administrative act."""

    id: str = Field(description="rises with time")
    at: float
    actor: str = Field(description="id of the key that did it, or offline:user")
    act: str = Field(examples=["key.create", "tenant.limits", "camera.delete"])
    tenant: str | None
    subject: str = Field(description="id of the key or camera, or the tenant")
    detail: str = Field(
        description="the new key's scope, the id that a rotation gave, or what was changed to what"
    )


class AuditPage(Message):
    """Acts, the oldest first."""

    entries: tuple[AuditEntry, ...]
    next: str | None = Field(description="`after` of the next page; null on the last")
