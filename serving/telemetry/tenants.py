"""Which tenants metrics tell apart: so many, the others together, however many there are.

The places are kept in Redis, first come, first served, so that all replicas agree on who has one; who was not
seen for a week makes room.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from serving.problems import StateUnavailable
from serving.state.tenants import TenantStore

OTHER = "other"
NOBODY = "none"
"""Requests whose key is no tenant's."""
IDLE_S = 7 * 86_400.0
ASKED_AGAIN_S, AWAY_S = 3600.0, 5.0
KNOWN = 10_000


class TenantLabels:
    """The label of each tenant, as one replica knows it; one question to Redis an hour and tenant."""

    def __init__(self, store: TenantStore, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._most, self._clock = store, most, clock
        self._known: OrderedDict[str, tuple[float, str]] = OrderedDict()

    async def of(self, tenant: str | None) -> str:
        """The tenant's name if it has a place, else `other`. While Redis is away, what was known last."""
        if not tenant:
            return NOBODY
        known, now = self._known.get(tenant), self._clock()
        if known is not None and now < known[0]:
            return known[1]
        label, kept_s = OTHER if known is None else known[1], AWAY_S
        try:
            label = tenant if await self._store.hold_place(tenant, self._most, IDLE_S) else OTHER
            kept_s = ASKED_AGAIN_S
        except StateUnavailable:  # and is not asked again by every refusal meanwhile
            pass
        self._known[tenant] = (now + kept_s, label)
        self._known.move_to_end(tenant)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return label
