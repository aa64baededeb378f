"""Quotas: what a tenant, and where it says so one of its cameras, may use a second, as token buckets.

The buckets are in Redis, shared by all ingress replicas and run by Redis's clock (`state/take_quota.lua`).
While Redis is away each replica goes on with buckets of its own, by the same arithmetic: `Buckets` is also
the reference that the script is tested against.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from clients.administration import TenantLimits
from serving.problems import QuotaExceeded, StateUnavailable
from serving.state.tenants import TenantStore, camera_buckets, tenant_buckets
from serving.tenant_cache import TenantCache, remember

BURST_S = 5.0
"""Seconds' worth that a full bucket holds."""

Amounts = Mapping[str, float]
"""By the name of the limit: what a segment takes. Names without a limit of a rate are not allowed."""
UNITS = {"segments_per_s": "segments", "gflops_per_s": "GFLOPs", "bytes_per_s": "bytes"}


@dataclass(slots=True)
class Buckets:
    """The token buckets of one tenant or camera; times in seconds by any one clock."""

    levels: dict[str, float] = field(default_factory=dict)
    at: float | None = None

    def take(self, rates: Mapping[str, float], amounts: Amounts, now: float) -> tuple[str, float]:
        """Takes all amounts and gives ('', 0), or takes none and gives the scarcest bucket and the seconds
        until there is enough. What never fits a bucket takes a full one and leaves a debt."""
        passed = 0.0 if self.at is None else max(0.0, now - self.at)
        scarce, wait, levels = "", 0.0, {}
        for name, amount in amounts.items():
            rate = rates[name]
            capacity = rate * BURST_S
            level = min(capacity, self.levels.get(name, capacity) + passed * rate)
            needed = min(amount, capacity)
            if amount > 0 and level < needed and (needed - level) / rate > wait:
                scarce, wait = name, (needed - level) / rate
            levels[name] = min(capacity, level - amount)
        if not scarce:
            self.levels, self.at = levels, now
        return scarce, wait


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose buckets a segment takes from. `rates` are the camera's own limits, by name; none: only its
    tenant's hold."""

    tenant: str
    camera: str = ""
    rates: Mapping[str, float] = field(default_factory=dict)


class Quotas:
    """What tenants may use, and what they have used of it, for one ingress replica."""

    def __init__(
        self, tenants: TenantStore, defaults: TenantLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenants, self._clock = tenants, clock
        self._limits = TenantCache(lambda tenant: tenants.limits(tenant, defaults), defaults, clock)
        self._own: OrderedDict[str, Buckets] = OrderedDict()

    async def limits(self, tenant: str) -> TenantLimits:
        """A tenant's limits, at most ten seconds old; while Redis is away, the last known or the defaults."""
        return await self._limits.get(tenant)

    async def take(self, holder: Holder, amounts: Amounts) -> None:
        """Takes what a segment uses from its camera's buckets and its tenant's, or from none of them. Raises
        `QuotaExceeded`, with the time until it would be there."""
        own = {name: amount for name, amount in amounts.items() if name in holder.rates}
        if own:  # before its tenant's: a camera that is held back takes nothing from the others
            key = camera_buckets(holder.camera)
            await self._take(key, holder.rates, own, "camera", "raise its limits with the tenant's key")
        limits = await self.limits(holder.tenant)
        rates = {name: float(getattr(limits, name)) for name in amounts}
        try:
            await self._take(
                tenant_buckets(holder.tenant), rates, amounts, "tenant", "ask the operator for more"
            )
        except QuotaExceeded:
            if own:
                await self._take(key, holder.rates, _negative(own), "camera", "")
            raise

    async def _take(
        self, buckets: str, rates: Mapping[str, float], amounts: Amounts, whose: str, remedy: str
    ) -> None:
        try:
            scarce, wait = await self._tenants.take(buckets, rates, amounts, BURST_S)
        except StateUnavailable:
            local = self._own.get(buckets) or Buckets()
            scarce, wait = local.take(rates, amounts, self._clock())
            remember(self._own, buckets, local)
        if scarce:
            raise QuotaExceeded(
                f"This {whose} may use {rates[scarce]:g} {UNITS[scarce]} a second and has. Send this again "
                f"in {wait:.3f} s, or {remedy}.",
                wait,
            )

    async def give_back(self, holder: Holder, amounts: Amounts) -> None:
        """Puts back what was taken for a segment that was then refused for no fault of the tenant's."""
        await self.take(holder, _negative(amounts))


def _negative(amounts: Amounts) -> Amounts:
    return {name: -amount for name, amount in amounts.items()}
