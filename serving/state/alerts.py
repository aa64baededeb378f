"""Alerts in the database: which are open, which ended, and what is still to be delivered of them.

All of a tenant's is in one slot. That an alert opens or closes, and that this is to be delivered, is one
script, so neither happens without the other and neither twice. A delivery stays until it was answered or
given up: who claims it moves its time on by a lease, and where they die, it is simply due again.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from clients.alerts import Alert, AlertEvent, AlertPage, WebhookInfo
from serving.alerts.decision import Sign
from serving.state.audits import AUDIT_FIELDS, audits_of
from serving.state.connection import PREFIX, SCRIPTS, camera_key, reaching_redis
from serving.state.tenants import names_key

RECENT_KEPT = 200
DELIVERIES_KEPT = 1000
"""Where a webhook does not answer for long, the oldest deliveries are left out above this many."""
CAMERAS_AT_ONCE = 500
_SWEEP = f"{PREFIX}{{sweep}}:"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery, claimed: the body to send and where to; `attempt` counts from 1."""

    id: str
    body: str
    attempt: int
    url: str
    secret: str


class AlertStore:
    """Atomic acts on alerts; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._turn = client.register_script((SCRIPTS / "turn_alert.lua").read_text(encoding="utf-8"))
        self._claim = client.register_script((SCRIPTS / "claim_delivery.lua").read_text(encoding="utf-8"))
        self._settle = client.register_script((SCRIPTS / "settle_delivery.lua").read_text(encoding="utf-8"))
        self._lease = client.register_script((SCRIPTS / "take_sweep.lua").read_text(encoding="utf-8"))

    # Sweeps

    async def take_lease(self, holder: str, lease_s: float) -> tuple[float, float] | None:
        """Takes or renews the right to sweep: Redis's time and since when cameras are watched without a gap
        of more than two leases (Unix seconds). None while another holder has it."""
        async with reaching_redis():
            reply: list[Any] = await self._lease(
                keys=[f"{_SWEEP}holder", f"{_SWEEP}watch"], args=[holder, round(lease_s * 1000)]
            )
        return (float(reply[1]), float(reply[2])) if reply[0] else None

    async def signs(self, tenant: str) -> AsyncIterator[Sign]:
        """What is known of each of the tenant's cameras; those whose state is gone are left out."""
        async with reaching_redis():
            names: dict[str, str] = await self._redis.hgetall(names_key(tenant))
        cameras = [(camera, name) for name, camera in names.items()]
        for start in range(0, len(cameras), CAMERAS_AT_ONCE):
            some = cameras[start : start + CAMERAS_AT_ONCE]
            async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
                for camera, _ in some:
                    reads.hmget(camera_key(camera), "name", "last_at", *AUDIT_FIELDS)
                found = await reads.execute()
            for (camera, name), (known, last_at, *audits) in zip(some, found, strict=True):
                if known is not None:
                    yield Sign(camera, name, None if last_at is None else float(last_at), audits_of(audits))

    # Alerts

    async def open_alerts(self, tenant: str) -> dict[str, Alert]:
        """The tenant's open alerts by subject."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_key(tenant, "alerts"))
        return {subject: Alert.model_validate_json(text) for subject, text in held.items()}

    async def page(self, tenant: str) -> AlertPage:
        """The tenant's open alerts, and the newest of those that ended."""
        held = await self.open_alerts(tenant)
        async with reaching_redis():
            ended: list[str] = await self._redis.lrange(_key(tenant, "ended"), 0, RECENT_KEPT - 1)
        return AlertPage(
            open=tuple(sorted(held.values(), key=lambda alert: alert.opened_at)),
            recent=tuple(Alert.model_validate_json(text) for text in ended),
        )

    async def open(self, tenant: str, subject: str, event: AlertEvent) -> bool:
        """Opens an alert unless one of its subject is open, and has it delivered where there is a webhook."""
        return await self._turned(tenant, subject, "", event.alert.model_dump_json(), event)

    async def close(self, tenant: str, subject: str, held: Alert, event: AlertEvent) -> bool:
        """Ends the alert `held` unless it has ended, and has that delivered where there is a webhook."""
        return await self._turned(tenant, subject, held.id, event.alert.model_dump_json(), event)

    async def _turned(self, tenant: str, subject: str, held: str, alert: str, event: AlertEvent) -> bool:
        keys = [_key(tenant, part) for part in ("alerts", "ended", "webhook", "due", "deliveries")]
        arguments = [subject, held, alert, event.id, event.model_dump_json(), RECENT_KEPT, DELIVERIES_KEPT]
        async with reaching_redis():
            turned: int = await self._turn(keys=keys, args=arguments)
        return turned == 1

    # Webhooks and deliveries

    async def set_webhook(self, tenant: str, url: str, secret: str) -> None:
        """Sets where a tenant's alerts go; what waits goes there too."""
        fields = {"url": url, "secret": secret, "set_at": repr(time.time())}
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            transaction.delete(_key(tenant, "webhook"))
            transaction.hset(_key(tenant, "webhook"), mapping=fields)
            await transaction.execute()

    async def webhook(self, tenant: str) -> WebhookInfo | None:
        """Where a tenant's alerts go, without the secret; None if nowhere."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_key(tenant, "webhook"))
            waiting: int = await self._redis.zcard(_key(tenant, "due"))
        if not held:
            return None
        return WebhookInfo(
            url=held["url"],
            set_at=float(held["set_at"]),
            waiting=waiting,
            delivered_at=float(held["delivered_at"]) if "delivered_at" in held else None,
            last_error=held.get("last_error"),
        )

    async def clear_webhook(self, tenant: str) -> bool:
        """Forgets a webhook with all that waits for it; False if there was none."""
        async with reaching_redis():
            gone: int = await self._redis.delete(_key(tenant, "webhook"))
            await self._redis.delete(_key(tenant, "due"), _key(tenant, "deliveries"))
        return gone == 1

    async def due(self, tenant: str) -> bool:
        """Whether a delivery is waiting whose time has come, by this machine's clock."""
        async with reaching_redis():
            count: int = await self._redis.zcount(_key(tenant, "due"), "-inf", time.time())
        return count > 0

    async def claim(self, tenant: str, lease_s: float) -> Delivery | None:
        """The delivery that is due longest, for `lease_s`; None if none is."""
        keys = [_key(tenant, part) for part in ("webhook", "due", "deliveries")]
        async with reaching_redis():
            reply: list[Any] = await self._claim(keys=keys, args=[format(lease_s, ".17g")])
        return Delivery(*reply) if reply else None

    async def delivered(self, tenant: str, delivery: str) -> None:
        """Ends a delivery that was answered."""
        await self._settled(tenant, delivery, "", None)

    async def failed(self, tenant: str, delivery: str, fault: str, again_in_s: float | None) -> None:
        """Has a delivery tried again later, or gives it up where `again_in_s` is None."""
        await self._settled(tenant, delivery, fault, again_in_s)

    async def _settled(self, tenant: str, delivery: str, fault: str, again_in_s: float | None) -> None:
        keys = [_key(tenant, part) for part in ("webhook", "due", "deliveries")]
        wait = "" if again_in_s is None else format(again_in_s, ".17g")
        async with reaching_redis():
            await self._settle(keys=keys, args=[delivery, fault, wait])


def _key(tenant: str, part: str) -> str:
    return f"{PREFIX}{{{tenant}}}:{part}"
