"""The certified failure rates of tenants as gauges, told by the one replica that looks at all cameras."""

from __future__ import annotations

import math

from serving.promise import Audits, failure_rate_at_least, failure_rate_at_most
from serving.telemetry.catalogue import FAILURE_RATE
from serving.telemetry.instruments import Instruments
from serving.telemetry.tenants import NOBODY, OTHER, TenantLabels


class PromiseTelemetry:
    """Bounds are computed anew only where something was counted since."""

    def __init__(self, instruments: Instruments, tenants: TenantLabels, confidence: float) -> None:
        self._to, self._tenants, self._confidence = instruments, tenants, confidence
        self._told: dict[str, tuple[Audits, float]] = {}

    async def tell(self, tenant: str, audits: Audits, promised: float) -> None:
        """How a tenant's cameras together stand; of tenants without a label of their own nothing is told."""
        label = await self._tenants.of(tenant)
        if label in (OTHER, NOBODY) or self._told.get(label) == (audits, promised):
            return
        self._told[label] = (audits, promised)
        self._set(label, failure_rate_at_most(audits, self._confidence), "at_most")
        self._set(label, failure_rate_at_least(audits, self._confidence), "at_least")
        self._set(label, promised, "promised")

    def end(self) -> None:
        """Another replica tells from now on."""
        for label in self._told:
            for bound in ("at_most", "at_least", "promised"):
                self._set(label, math.nan, bound)
        self._told.clear()

    def _set(self, label: str, rate: float, bound: str) -> None:
        self._to.set(FAILURE_RATE, rate, tenant=label, bound=bound)
