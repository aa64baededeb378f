"""Messages of alerts and their webhooks, and the signature by which a receiver knows them.

A receiver answers 2xx once it has what was sent; anything else is tried again, so the same delivery may come
more than once: its `id` is the same then. Times are Unix seconds.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

from pydantic import Field

from clients.protocol import Message, example

AlertKind = Literal["silent", "promise"]
SIGNATURE_HEADER = "Penance-Signature"
DELIVERY_HEADER = "Penance-Delivery"
TOLERANCE_S = 300.0
SECRET_PATTERN = r"^[!-~]{16,128}$"


class Alert(Message):
    """Something that is wrong with a camera, or with a tenant's cameras together."""

    id: str
    kind: AlertKind = Field(
        description="silent: no segments come; promise: too many fell short of their target"
    )
    camera: str | None = Field(description="null: the tenant's cameras together")
    name: str | None = Field(description="the camera's name")
    detail: str
    opened_at: float
    closed_at: float | None = Field(None, description="null while it goes on")


class AlertPage(Message):
    """A tenant's alerts: all that are open, the oldest first, and those that ended, the newest first."""

    open: tuple[Alert, ...]
    recent: tuple[Alert, ...]


class AlertEvent(Message):
    """Body of a delivery to a webhook."""

    id: str = Field(description="of the delivery: the same however often it is tried")
    event: Literal["alert.opened", "alert.closed"]
    tenant: str
    alert: Alert


class NewWebhook(Message):
    """Body of `PUT /v1/tenants/{tenant}/webhook`."""

    model_config = example(url="https://hooks.example/penance", secret=None)

    url: str = Field(min_length=8, max_length=2048, pattern=r"^https?://[!-~]+$")
    secret: str | None = Field(None, pattern=SECRET_PATTERN, description="null: one is made and shown once")


class WebhookInfo(Message):
    """Where a tenant's alerts are delivered, and how that goes."""

    url: str
    set_at: float
    waiting: int = Field(description="deliveries that are not answered yet")
    delivered_at: float | None = Field(description="when one was last answered 2xx")
    last_error: str | None = Field(description="of the latest attempt; null if it was answered 2xx")


class IssuedWebhook(Message):
    """A webhook as it was set; the only time its secret is seen."""

    url: str
    secret: str


def sign(secret: str, body: bytes, at: int) -> str:
    """The header `Penance-Signature`: HMAC-SHA256 over the time (whole Unix seconds), a dot and the body."""
    return f"t={at},v1={_digest(secret, body, at)}"


def verified(secret: str, body: bytes, signature: str, now: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """Whether a delivery is the server's, and not an old one that somebody sends again."""
    parts = dict(part.partition("=")[::2] for part in signature.split(","))
    time = parts.get("t", "")
    if not (time.isascii() and time.isdigit() and len(time) < 16) or abs(now - int(time)) > tolerance_s:
        return False
    return hmac.compare_digest(_digest(secret, body, int(time)).encode(), parts.get("v1", "").encode())


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
