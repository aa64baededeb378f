"""Usage: what was accepted, by hour and tenant and by camera and month, counted exactly once.

`commit.lua` counts each accepted segment into hourly counters beside the camera's state, in the camera's
slot. From there counts are *folded* into the tenant's ledger, which is in another slot, so not in one
transaction but in two idempotent steps: the ledger takes the counts of one generation in once
(`fold_usage.lua`), and exactly these are then taken off the counters, which begins the next generation
(`settle_usage.lua`). A crash in between, or two who fold at once, change nothing twice and lose nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.state.connection import PREFIX, SCRIPTS, camera_key, reaching_redis
from serving.state.tenants import names_key

HOUR_S = 3600
KEPT_S = 800 * 24 * HOUR_S
"""How long a month of the ledger is kept after it last changed: two years and some."""
CAMERAS_AT_ONCE = 500
ATTEMPTS = 20


@dataclass(slots=True)
class Amounts:
    """Accepted segments, the FLOPs of their inference (2 per multiply-add) and the bytes of their bodies."""

    segments: int = 0
    flops: int = 0
    bytes: int = 0


@dataclass(slots=True)
class MonthUsage:
    """One tenant's month (UTC): amounts by hour (Unix hours) and by camera, and cameras' names."""

    hours: dict[int, Amounts] = field(default_factory=dict)
    cameras: dict[str, Amounts] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


class UsageStore:
    """Folds and reads usage; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._fold = client.register_script((SCRIPTS / "fold_usage.lua").read_text(encoding="utf-8"))
        self._settle = client.register_script((SCRIPTS / "settle_usage.lua").read_text(encoding="utf-8"))

    async def fold(self, tenant: str, camera: str, name: str | None = None) -> None:
        """Moves what a camera's counters hold into its tenant's ledger; without `name` under the name that
        its state has."""
        for _ in range(ATTEMPTS):
            async with reaching_redis():
                held: dict[str, str] = await self._redis.hgetall(usage_key(camera))
                generation, counts = held.pop("generation", "0"), sorted(_rows(held))
                if not counts:
                    return
                if name is None:
                    name = await self._redis.hget(camera_key(camera), "name") or ""
                months = sorted({month_of(hour) for hour, *_ in counts})
                keys = [f"{PREFIX}{{{tenant}}}:folded", *(_month_key(tenant, month) for month in months)]
                arguments: list[object] = [camera, name, generation, KEPT_S]
                for hour, *amounts in counts:
                    arguments += [2 + months.index(month_of(hour)), hour, *amounts]
                added: str = await self._fold(keys=keys, args=arguments)
                if added:
                    await self._settle(keys=[usage_key(camera)], args=[generation, *added.split(" ")])

    async def fold_tenant(self, tenant: str) -> dict[str, str]:
        """Folds all of a tenant's cameras; returns their names by id."""
        async with reaching_redis():
            cameras: dict[str, str] = await self._redis.hgetall(names_key(tenant))
        names = {camera: name for name, camera in cameras.items()}
        for some in _parts(list(names), CAMERAS_AT_ONCE):
            async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
                for camera in some:
                    reads.hlen(usage_key(camera))
                sizes = await reads.execute()
            for camera, size in zip(some, sizes, strict=True):
                if size > 1:  # one field is the generation alone
                    await self.fold(tenant, camera, names[camera])
        return names

    async def month(self, tenant: str, month: str) -> MonthUsage:
        """A tenant's month, `2026-11`, as it stands in the ledger."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_month_key(tenant, month))
        usage = MonthUsage()
        for name, value in held.items():
            kind, identity, unit = name.split(":")
            if unit == "name":
                usage.names[identity] = value
            elif kind == "hour":
                setattr(usage.hours.setdefault(int(identity), Amounts()), unit, int(value))
            else:
                setattr(usage.cameras.setdefault(identity, Amounts()), unit, int(value))
        return usage

    async def forget(self, camera: str) -> None:
        """Deletes the counters of a camera that is no more, once they are folded."""
        async with reaching_redis():
            await self._redis.delete(usage_key(camera))


def usage_key(camera: str) -> str:
    """Name of the hash of a camera's hourly counters."""
    return f"{PREFIX}{{{camera}}}:usage"


def month_of(hour: int) -> str:
    """The calendar month (UTC) of an hour since 1970: `2026-11`."""
    return time.strftime("%Y-%m", time.gmtime(hour * HOUR_S))


def _month_key(tenant: str, month: str) -> str:
    return f"{PREFIX}{{{tenant}}}:usage:{month}"


def _rows(held: dict[str, str]) -> Iterator[tuple[int, int, int, int]]:
    """(hour, segments, FLOPs, bytes) of every hour among the counters' fields."""
    for hour in {int(name.partition(":")[0]) for name in held}:
        yield hour, *(int(held.get(f"{hour}:{unit}", 0)) for unit in ("segments", "flops", "bytes"))  # type: ignore[misc]


def _parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
