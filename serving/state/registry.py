"""The register of keys and the log of what was done with them, in Redis.

An act and its entry in the log are one transaction: nothing is done without being written down. The acts of
operators and those of each tenant have logs of their own, so no tenant can push an operator's entries out.
Camera tokens are not in the register's index: a tenant may have very many, and each is found by its camera.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from serving.state.connection import PREFIX, REGISTRY, SCRIPTS, key_hash, reaching_redis

INDEX = f"{REGISTRY}keys"
OPERATORS_LOG = f"{REGISTRY}audit"
ENTRIES_KEPT = 100_000

EndVerdict = Literal["ended", "missing", "camera"]


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a request to end a key, and whose key it was."""

    verdict: EndVerdict
    tenant: str = ""
    scope: str = ""
    label: str = ""


class KeyRegistry:
    """Atomic acts on keys; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._end = client.register_script((SCRIPTS / "end_key.lua").read_text(encoding="utf-8"))

    async def take_over(self) -> None:
        """Renames what versions before hash tags wrote, so that no key is lost; on no cluster."""
        async with reaching_redis():
            old = [name async for name in self._redis.scan_iter(f"{PREFIX}key:*", count=1000)]
            for name in [f"{PREFIX}keys", f"{PREFIX}audit", *old]:
                if await self._redis.exists(name):
                    await self._redis.renamenx(name, REGISTRY + name.removeprefix(PREFIX))

    async def add(self, key_id: str, fields: dict[str, str], actor: str) -> None:
        """Stores a new key."""
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            transaction.hset(key_hash(key_id), mapping=fields)
            transaction.zadd(INDEX, {f"{fields['tenant']}/{key_id}": 0})
            entry(transaction, OPERATORS_LOG, actor, "key.create", fields["tenant"], key_id, fields["scope"])
            await transaction.execute()

    async def keep(self, key_id: str, fields: dict[str, str]) -> None:
        """Stores a key unless it is known already, be it as an ended one; not an act of anybody."""
        async with reaching_redis():
            if not await self._redis.exists(key_hash(key_id)):
                await self._redis.hset(key_hash(key_id), mapping=fields)
            await self._redis.zadd(INDEX, {f"{fields['tenant']}/{key_id}": 0})

    async def end(self, key_id: str, actor: str, successor: tuple[str, str] | None = None) -> Ending:
        """Revokes a key, or rotates it where `successor` (id, SHA-256) takes its place."""
        new_id, sha256 = successor or ("", "")
        act = "key.rotate" if successor else "key.revoke"
        async with reaching_redis():
            reply: list[Any] = await self._end(
                keys=[key_hash(key_id), INDEX, OPERATORS_LOG, key_hash(new_id or key_id)],
                args=[str(time.time()), actor, act, ENTRIES_KEPT, key_id, new_id, sha256],
            )
        return Ending(*reply)

    async def list(self, tenant: str | None, after: str, limit: int) -> Sequence[tuple[str, dict[str, str]]]:
        """At most `limit` keys in the order of `tenant/id`, beginning behind that name `after`."""
        lowest, highest = ("-", "+") if tenant is None else (f"[{tenant}/", f"({tenant}0")  # 0 follows /
        if after and (tenant is None or after.startswith(f"{tenant}/")):
            lowest = f"({after}"
        async with reaching_redis():
            names = await self._redis.zrange(INDEX, lowest, highest, bylex=True, offset=0, num=limit)
            async with self._redis.pipeline(transaction=False) as reads:
                for name in names:
                    reads.hgetall(key_hash(name.partition("/")[2]))
                found = await reads.execute()
        return list(zip(names, found, strict=True))

    async def tenants(self) -> AsyncIterator[str]:
        """Every tenant that ever had a key, in order."""
        lowest = "[0"  # operators' keys come before: they have no tenant
        while True:
            async with reaching_redis():
                names = await self._redis.zrange(INDEX, lowest, "+", bylex=True, offset=0, num=1)
            if not names:
                return
            tenant = names[0].partition("/")[0]
            yield tenant
            lowest = f"[{tenant}0"  # 0 follows /

    async def record(self, tenant: str, actor: str, act: str, subject: str, detail: str = "") -> None:
        """Writes an act on a tenant's own things into the tenant's log."""
        async with reaching_redis():
            await entry(self._redis, tenant_log(tenant), actor, act, tenant, subject, detail)

    async def log(self, tenant: str | None, after: str, limit: int) -> Sequence[tuple[str, dict[str, str]]]:
        """Entries behind the one with id `after`, oldest first; `tenant` None means the operators' log."""
        async with reaching_redis():
            entries: Sequence[tuple[str, dict[str, str]]] = await self._redis.xrange(
                tenant_log(tenant) if tenant else OPERATORS_LOG,
                min=f"({after}" if after else "-",
                count=limit,
            )
        return entries


def entry(client: Any, log: str, actor: str, act: str, tenant: str, subject: str, detail: str = "") -> Any:
    """Adds an act to a log; in a pipeline, together with what else it holds."""
    fields = {"actor": actor, "act": act, "tenant": tenant, "subject": subject, "detail": detail}
    return client.xadd(log, fields, maxlen=ENTRIES_KEPT, approximate=True)


def tenant_log(tenant: str) -> str:
    """Name of the log of what a tenant did with its own things."""
    return f"{PREFIX}tenant:{tenant}:audit"
