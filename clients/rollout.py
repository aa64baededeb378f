"""Messages about bundles of a running application: which are held, which is in force, which is on trial.

Times are Unix seconds. An id is a bundle's name and 12 hex digits over its content; `shipped` stands for the
bundle that the application was started with.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import Field

from clients.protocol import Message, example

SHIPPED = "shipped"
BUNDLE_ID_PATTERN = r"^(shipped|[A-Za-z0-9._-]{1,100}-[0-9a-f]{12})$"
ARCHIVE_TYPE = "application/x-tar"

BundleId = Annotated[str, Field(pattern=BUNDLE_ID_PATTERN)]
CanaryShare = Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]


class Canary(Message):
    """A bundle on trial with a share of all cameras."""

    bundle: BundleId
    share: CanaryShare
    trial: int = Field(ge=1, description="the plan's revision with which it began")
    began_at: float

    def takes(self, camera: str) -> bool:
        """Whether a camera is among them: always the same answer for the same camera and bundle."""
        digest = hashlib.sha256(f"{self.bundle}/{camera}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.share * 2**64


class Preparing(Message):
    """A bundle that replicas load, to be put in force, or on trial where there is a share."""

    bundle: BundleId
    share: CanaryShare | None = None
    by: str = Field(description="who asked for it: a key's id, or offline:user")
    at: float


class Plan(Message):
    """Which bundle whose cameras go by; changed as a whole, and counted by `revision`."""

    revision: int = Field(0, ge=0)
    active: BundleId = SHIPPED
    previous: BundleId | None = Field(None, description="what a rollback goes back to")
    leaving: BundleId | None = Field(None, description="what cameras went by last, and may still name")
    canary: Canary | None = None
    preparing: Preparing | None = None
    problem: str = Field("", description="why the latest preparation or trial came to nothing")

    def bundle_for(self, camera: str) -> str:
        """The bundle that a camera is to go by."""
        return self.canary.bundle if self.canary is not None and self.canary.takes(camera) else self.active

    def wanted(self, most: int) -> tuple[str, ...]:
        """The bundles that replicas hold, the most needed first, and cameras may name."""
        ordered = (
            self.active,
            self.preparing and self.preparing.bundle,
            self.canary and self.canary.bundle,
            self.leaving,
            self.previous,
        )
        return tuple(dict.fromkeys(bundle for bundle in ordered if bundle))[:most]


class StoredBundle(Message):
    """A bundle in the store."""

    id: BundleId
    size: int = Field(description="bytes of its archive")
    sha256: str = Field(description="of its archive")
    signature: str = Field(description="of its bundle.json: Ed25519, base64")
    pushed_at: float
    pushed_by: str


class Holder(Message):
    """What one replica says of itself, every second."""

    role: str = Field(description="ingress, encoder or variant-0, variant-1, ...")
    shipped: str = Field(description="id of the bundle that it was started with")
    held: tuple[str, ...] = ()
    failed: dict[str, str] = Field(
        default_factory=dict, description="bundles that it could not load, and why"
    )


class CanaryStanding(Message):
    """What audits have shown of a trial so far."""

    audited: int = Field(description="audited segments of cameras on trial")
    failed: int = Field(description="those that fell short of their target, dropped ones among them")
    mean_miou: float | None
    others_audited: int
    others_failed: int
    others_mean_miou: float | None
    evidence: float = Field(description="that it is worse; 1 / (1 - confidence) takes it back")


class BundleStanding(Message):
    """All there is to know of the bundles of an application."""

    plan: Plan
    key: str = Field(description="public half of the key that signs bundles: Ed25519, base64")
    stored: tuple[StoredBundle, ...]
    replicas: tuple[Holder, ...]
    canary: CanaryStanding | None


class NewCanary(Message):
    """Body of `POST /v1/bundles/{bundle}/canary`."""

    model_config = example(share=0.1)

    share: CanaryShare = 0.1
