"""What is settled for a tenant, read from the database at most every ten seconds and replica."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from serving.problems import StateUnavailable

CACHE_S = 10.0
TENANTS_CACHED = 10_000

Value = TypeVar("Value")


class TenantCache(Generic[Value]):
    """Values by tenant, at most ten seconds old; while Redis is away, the last known or the default."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[Value]],
        default: Value,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._default, self._clock = read, default, clock
        self._held: OrderedDict[str, tuple[float, Value]] = OrderedDict()

    async def get(self, tenant: str) -> Value:
        now = self._clock()
        cached = self._held.get(tenant)
        if cached is not None and now < cached[0]:
            return cached[1]
        try:
            value = await self._read(tenant)
        except StateUnavailable:
            return self._default if cached is None else cached[1]
        remember(self._held, tenant, (now + CACHE_S, value))
        return value


Kept = TypeVar("Kept")


def remember(cache: OrderedDict[str, Kept], tenant: str, value: Kept) -> None:
    """Puts a value in, and the one that was longest unused out where there are too many."""
    cache[tenant] = value
    cache.move_to_end(tenant)
    while len(cache) > TENANTS_CACHED:
        cache.popitem(last=False)
