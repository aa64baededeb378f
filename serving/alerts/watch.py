"""The watch: one ingress replica at a time looks at all cameras every few seconds, opens and closes alerts,
and has what is due delivered. Which one it is, a lease in Redis decides; whoever dies is followed by another.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from clients.administration import TenantLimits
from clients.alerts import Alert, AlertEvent
from serving.alerts.decision import AlertOptions, Rules, changes, counted, findings
from serving.alerts.delivery import Courier
from serving.problems import StateUnavailable
from serving.promise import AuditOptions
from serving.state.store import StateStore
from serving.telemetry.promises import PromiseTelemetry

LEASE_SWEEPS = 3
"""Sweeps that may fail to come before another replica takes over."""
TENANTS_AT_ONCE = 16

logger = logging.getLogger("ray.serve")


class Watch:
    """Sweeps and delivers; one instance an ingress replica."""

    def __init__(
        self,
        store: StateStore,
        limits: TenantLimits,
        audits: AuditOptions,
        options: AlertOptions,
        telemetry: PromiseTelemetry,
    ) -> None:
        self._store, self._limits, self._audits, self._options = store, limits, audits, options
        self._telemetry = telemetry
        self._courier = Courier(store.alerts, options)
        self._me = secrets.token_urlsafe(9)
        self._delivering: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(TENANTS_AT_ONCE)

    async def run(self) -> None:
        """Sweeps for ever. What goes wrong in one sweep is logged, and the next one tries again."""
        while True:
            started = time.monotonic()
            try:
                await self.sweep()
            except StateUnavailable:
                logger.warning("No look at the cameras: the state store did not answer.")
            except Exception:  # an alert that cannot be written must not end all others
                logger.exception("A look at the cameras failed.")
            await asyncio.sleep(max(0.0, started + self._options.sweep_s - time.monotonic()))

    async def sweep(self) -> bool:
        """Looks at all cameras once; False if another replica does so. Raises `StateUnavailable`."""
        held = await self._lease()
        if held is None:
            self._telemetry.end()
            return False
        now, since = held
        renewed = time.monotonic()
        async for tenant in self._store.keys.tenants():
            await self.look(tenant, now, since)
            if time.monotonic() - renewed > self._options.sweep_s:
                if (held := await self._lease()) is None:
                    self._telemetry.end()
                    return False
                (now, since), renewed = held, time.monotonic()
        return True

    async def settled(self) -> None:
        """Waits until nothing is being delivered."""
        while self._delivering:
            await asyncio.gather(*self._delivering.values())

    async def _lease(self) -> tuple[float, float] | None:
        return await self._store.alerts.take_lease(self._me, LEASE_SWEEPS * self._options.sweep_s)

    async def look(self, tenant: str, now: float, since: float) -> None:
        """Opens and closes one tenant's alerts, and begins to deliver what is due."""
        alerts = self._store.alerts
        limits = await self._store.tenants.limits(tenant, self._limits)
        signs = [sign async for sign in alerts.signs(tenant)]
        rules = Rules(limits.silent_after_s, limits.failure_rate, self._audits.share, self._audits.confidence)
        await self._telemetry.tell(tenant, counted(signs, rules.share), rules.failure_rate)
        found = {str(subject): (subject, finding) for subject, finding in findings(signs, rules, now, since)}
        held = await alerts.open_alerts(tenant)
        opening, closing = changes(held.keys(), {name: finding for name, (_, finding) in found.items()})
        for name in sorted(opening):
            subject, finding = found[name]
            alert = Alert(
                id=secrets.token_urlsafe(12),
                kind=subject.kind,
                camera=subject.camera,
                name=finding.name,
                detail=finding.detail,
                opened_at=now,
            )
            event = AlertEvent(id=secrets.token_urlsafe(12), event="alert.opened", tenant=tenant, alert=alert)
            await alerts.open(tenant, name, event)
        for name in sorted(closing):
            detail = found[name][1].detail if name in found else "The camera was deleted or forgotten."
            ended = held[name].model_copy(update={"closed_at": now, "detail": detail})
            event = AlertEvent(id=secrets.token_urlsafe(12), event="alert.closed", tenant=tenant, alert=ended)
            await alerts.close(tenant, name, held[name], event)
        if tenant not in self._delivering and await alerts.due(tenant):
            task = asyncio.create_task(self._deliver(tenant))
            self._delivering[tenant] = task
            task.add_done_callback(lambda _: self._delivering.pop(tenant))

    async def _deliver(self, tenant: str) -> None:
        async with self._places:
            try:
                await self._courier.deliver_due(tenant)
            except StateUnavailable:
                logger.warning("Deliveries of tenant %s wait: the state store did not answer.", tenant)
