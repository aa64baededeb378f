"""How cameras and replicas stand just now, for those who look on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from serving.promise import Audits
from serving.state.audits import AUDIT_FIELDS, audits_of
from serving.state.connection import PREFIX, camera_key, reaching_redis

CAMERAS_AT_ONCE = 500
TOLD_FOR_S = 10.0
_LOADS = f"{PREFIX}{{load}}:replicas"
_FIELDS = (
    "target_miou",
    "segments",
    "dropped",
    "last_at",
    "last_configuration",
    "cost_total",
    "cost_average",
    "deficit_average",
    "overuse_average",
)


@dataclass(frozen=True, slots=True)
class CameraStanding:
    """One camera: what its hash holds by field, and what was counted of its audits."""

    id: str
    name: str
    fields: Mapping[str, str | None]
    audits: Audits | None

    def number(self, field: str) -> float | None:
        text = self.fields[field]
        return None if text is None else float(text)


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one ingress replica has in hand; `level` is its brown-out."""

    lanes: int
    running: int
    waiting: int
    backlog_s: float
    level: int


class LiveStore:
    """Reads standings, and keeps what replicas tell of themselves for a few seconds."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    async def cameras(self, names: Mapping[str, str]) -> list[CameraStanding]:
        """Standings of cameras by name -> id; those whose state is gone are left out."""
        found: list[CameraStanding] = []
        for some in _parts(names, CAMERAS_AT_ONCE):
            async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
                for _, camera in some:
                    reads.hmget(camera_key(camera), *_FIELDS, *AUDIT_FIELDS)
                rows = await reads.execute()
            for (name, camera), values in zip(some, rows, strict=True):
                fields = dict(zip(_FIELDS, values, strict=False))
                if fields["target_miou"] is not None:
                    found.append(CameraStanding(camera, name, fields, audits_of(values[len(_FIELDS) :])))
        return found

    async def tell(self, replica: str, load: ReplicaLoad) -> None:
        """Says how a replica stands; it counts for ten seconds."""
        async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
            transaction.hset(_LOADS, replica, json.dumps(asdict(load) | {"at": time.time()}))
            transaction.expire(_LOADS, round(6 * TOLD_FOR_S))
            await transaction.execute()

    async def loads(self) -> list[ReplicaLoad]:
        """What replicas told lately. Those that fell silent are forgotten."""
        async with reaching_redis():
            held: dict[str, str] = await self._redis.hgetall(_LOADS)
            told = {replica: json.loads(text) for replica, text in held.items()}
            silent = [replica for replica, load in told.items() if time.time() - load.pop("at") > TOLD_FOR_S]
            if silent:
                await self._redis.hdel(_LOADS, *silent)
        return [ReplicaLoad(**load) for replica, load in told.items() if replica not in silent]


def _parts(names: Mapping[str, str], size: int) -> Iterator[list[tuple[str, str]]]:
    items = iter(sorted(names.items()))
    while some := list(islice(items, size)):
        yield some
