"""What the database holds of a tenant: its limits, its token buckets, the names of its cameras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clients.administration import LimitsPatch, TenantLimits
from serving.state.connection import PREFIX, REGISTRY, SCRIPTS, reaching_redis
from serving.state.registry import OPERATORS_LOG, entry


class TenantStore:
    """Atomic acts on tenants; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._take = client.register_script((SCRIPTS / "take_quota.lua").read_text(encoding="utf-8"))
        self._name = client.register_script((SCRIPTS / "name_camera.lua").read_text(encoding="utf-8"))
        self._hold = client.register_script((SCRIPTS / "hold_place.lua").read_text(encoding="utf-8"))

    async def limits(self, tenant: str, defaults: TenantLimits) -> TenantLimits:
        """A tenant's limits: what an operator set, over the defaults."""
        async with reaching_redis():
            own: dict[str, str] = await self._redis.hgetall(_limits_key(tenant))
        known = {name: own[name] for name in TenantLimits.model_fields if name in own}
        return TenantLimits.model_validate(defaults.model_dump() | known)

    async def set_limits(self, tenant: str, patch: LimitsPatch, actor: str) -> None:
        """Changes limits and writes that down, in one transaction."""
        changes = patch.model_dump(include=patch.model_fields_set)
        given = {name: format(value, ".17g") for name, value in changes.items() if value is not None}
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            if given:
                transaction.hset(_limits_key(tenant), mapping=given)
            if len(given) < len(changes):
                transaction.hdel(_limits_key(tenant), *(set(changes) - set(given)))
            entry(transaction, OPERATORS_LOG, actor, "tenant.limits", tenant, tenant, json.dumps(changes))
            await transaction.execute()

    async def take(
        self, buckets: str, rates: Mapping[str, float], amounts: Mapping[str, float], burst_s: float
    ) -> tuple[str, float]:
        """Takes from the buckets under this key: ('', 0), or the scarcest one and the seconds to wait."""
        arguments: list[str] = [repr(burst_s)]
        for name, amount in amounts.items():
            arguments += [name, format(rates[name], ".17g"), format(amount, ".17g")]
        async with reaching_redis():
            scarce, wait, _ = await self._take(keys=[buckets], args=arguments)
        return scarce, float(wait)

    async def name_camera(self, tenant: str, name: str, camera: str, most: int) -> str | None:
        """The id of the tenant's camera of this name: `camera` if new, None if one too many."""
        async with reaching_redis():
            found: str | None = await self._name(keys=[names_key(tenant)], args=[name, camera, most])
        return found

    async def camera_names(self, tenant: str) -> dict[str, str]:
        """Ids of all the tenant's cameras by name."""
        async with reaching_redis():
            found: dict[str, str] = await self._redis.hgetall(names_key(tenant))
        return found

    async def cameras(self, tenant: str) -> list[str]:
        """Ids of all the tenant's cameras."""
        async with reaching_redis():
            found: list[str] = await self._redis.hvals(names_key(tenant))
        return found

    async def hold_place(self, tenant: str, most: int, idle_s: float) -> bool:
        """Whether the tenant is among the `most` whom metrics tell apart, or can be from now on."""
        async with reaching_redis():
            held: int = await self._hold(
                keys=[f"{PREFIX}{{metrics}}:tenants"], args=[tenant, most, round(idle_s)]
            )
        return held == 1


def tenant_buckets(tenant: str) -> str:
    """Name of the hash of a tenant's token buckets."""
    return f"{PREFIX}{{{tenant}}}:buckets"


def camera_buckets(camera: str) -> str:
    """Name of the hash of a camera's token buckets, where it has limits of its own."""
    return f"{PREFIX}{{{camera}}}:camera-buckets"


def names_key(tenant: str) -> str:
    """Name of the hash from a tenant's cameras' names to their ids."""
    return f"{PREFIX}tenant:{tenant}:cameras"


def _limits_key(tenant: str) -> str:
    return f"{REGISTRY}limits:{tenant}"
