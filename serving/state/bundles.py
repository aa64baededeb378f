"""Bundles in the database: the archives that were pushed, the plan, who holds what, and a trial's audits.

All of it has the registry's hash tag, so that acts and their entries in the operators' log change together.
An archive lies there in chunks; its entry in the index is written last, and without an entry there is none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Literal

from redis.client import NEVER_DECODE

from clients.rollout import Holder, Plan, StoredBundle
from serving.bundles.signing import SigningKey
from serving.bundles.switching import Step
from serving.state.connection import REGISTRY, SCRIPTS, reaching_redis
from serving.state.registry import ENTRIES_KEPT, OPERATORS_LOG, entry

CHUNK = 2**20
HELD_FOR_S = 20.0
"""A replica that was silent for so long is taken to be gone."""
TRIAL_S = 90 * 86_400
_INDEX, _PLAN, _HOLDERS = f"{REGISTRY}bundles", f"{REGISTRY}bundle-plan", f"{REGISTRY}bundle-holders"
_SIGNING = f"{REGISTRY}bundle-key"

Arm = Literal["canary", "others"]


class BundleStore:
    """`client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client
        self._turn = client.register_script((SCRIPTS / "turn_plan.lua").read_text(encoding="utf-8"))

    async def key(self) -> SigningKey:
        """The key that signs bundles, made if there is none; whoever comes first makes everybody's."""
        async with reaching_redis():
            held: str | None = await self._redis.get(_SIGNING)
            if held is None:
                await self._redis.set(_SIGNING, SigningKey.make().secret, nx=True)
                held = await self._redis.get(_SIGNING)
        return SigningKey(held or "")

    # Archives

    async def stored(self) -> list[StoredBundle]:
        """What was pushed, the oldest first."""
        async with reaching_redis():
            found: dict[str, str] = await self._redis.hgetall(_INDEX)
        bundles = [StoredBundle.model_validate_json(text) for text in found.values()]
        return sorted(bundles, key=lambda bundle: bundle.pushed_at)

    async def find(self, bundle: str) -> StoredBundle | None:
        async with reaching_redis():
            found: str | None = await self._redis.hget(_INDEX, bundle)
        return None if found is None else StoredBundle.model_validate_json(found)

    async def put(self, bundle: StoredBundle, archive: bytes, actor: str) -> None:
        """Stores an archive; it is there as a whole or not at all."""
        async with reaching_redis():
            for number, start in enumerate(range(0, len(archive), CHUNK)):
                await self._redis.set(_chunk(bundle.id, number), archive[start : start + CHUNK])
            async with self._redis.pipeline(transaction=True) as transaction:
                transaction.hset(_INDEX, bundle.id, bundle.model_dump_json())
                entry(transaction, OPERATORS_LOG, actor, "bundle.push", "", bundle.id, f"{bundle.size} bytes")
                await transaction.execute()

    async def archive(self, bundle: StoredBundle) -> bytes:
        """The archive as it lies there; whether it is what was pushed, its reader checks."""
        chunks: list[bytes] = []
        async with reaching_redis():
            for number in range(_chunks(bundle.size)):
                chunk = await self._redis.execute_command(
                    "GET", _chunk(bundle.id, number), **{NEVER_DECODE: []}
                )
                chunks.append(chunk or b"")
        return b"".join(chunks)

    async def remove(self, bundle: StoredBundle, actor: str) -> None:
        """Forgets an archive."""
        async with reaching_redis():
            async with self._redis.pipeline(transaction=True) as transaction:
                transaction.hdel(_INDEX, bundle.id)
                entry(transaction, OPERATORS_LOG, actor, "bundle.remove", "", bundle.id)
                await transaction.execute()
            for number in range(_chunks(bundle.size)):
                await self._redis.delete(_chunk(bundle.id, number))

    # The plan

    async def plan(self) -> Plan:
        async with reaching_redis():
            held: str | None = await self._redis.hget(_PLAN, "plan")
        return Plan() if held is None else Plan.model_validate_json(held)

    async def turn(self, step: Step) -> Plan | None:
        """Puts a new plan in the place of the one that it was made from, and logs the act; None where that is
        in place no more."""
        new = step.plan.model_copy(update={"revision": step.plan.revision + 1})
        revisions = [str(step.plan.revision), str(new.revision)]
        act = [step.actor, step.act, step.subject, step.detail]
        async with reaching_redis():
            done = await self._turn(
                keys=[_PLAN, OPERATORS_LOG], args=[*revisions, new.model_dump_json(), ENTRIES_KEPT, *act]
            )
        return new if done else None

    # Who holds what

    async def tell(self, name: str, holder: Holder) -> None:
        """Says what a replica holds; it counts for `HELD_FOR_S`."""
        told = {"at": time.time(), "holder": holder.model_dump()}
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            transaction.hset(_HOLDERS, name, json.dumps(told))
            transaction.expire(_HOLDERS, round(6 * HELD_FOR_S))
            await transaction.execute()

    async def forget_holder(self, name: str) -> None:
        """A replica that ends says so, and nobody waits for it."""
        async with reaching_redis():
            await self._redis.hdel(_HOLDERS, name)

    async def holders(self) -> list[Holder]:
        """What replicas hold that told so lately; those that fell silent are forgotten."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_HOLDERS)
            told = {name: json.loads(text) for name, text in held.items()}
            silent = [name for name, said in told.items() if time.time() - said["at"] > HELD_FOR_S]
            if silent:
                await self._redis.hdel(_HOLDERS, *silent)
        return [Holder.model_validate(said["holder"]) for name, said in told.items() if name not in silent]

    # A trial's audits

    async def record(self, trial: int, arm: Arm, miou: float, failed: bool) -> None:
        """Adds what an audit showed while a trial goes on."""
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            transaction.rpush(_trial(trial), f"{arm} {miou:.6f} {int(failed)}")
            transaction.expire(_trial(trial), TRIAL_S)
            await transaction.execute()

    async def verdicts(self, trial: int, after: int) -> Sequence[tuple[Arm, float, bool]]:
        """A trial's audits in the order in which they came, without the first `after`."""
        async with reaching_redis():
            lines: list[str] = await self._redis.lrange(_trial(trial), after, -1)
        parts = [line.split(" ") for line in lines]
        return [
            ("canary" if arm == "canary" else "others", float(miou), failed == "1")
            for arm, miou, failed in parts
        ]


def _chunks(size: int) -> int:
    return -(-size // CHUNK)


def _chunk(bundle: str, number: int) -> str:
    return f"{REGISTRY}bundle:{bundle}:{number}"


def _trial(trial: int) -> str:
    return f"{REGISTRY}bundle-trial:{trial}"
