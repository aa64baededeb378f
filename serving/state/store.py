"""The state store: tenants, keys and cameras in Redis, one hash tag a camera.

All state of a camera changes in two atomic scripts, `begin.lua` (claim a segment) and `commit.lua`
(count it and store its answer). Everything else here is plain reads and writes. Any failure of Redis
comes out as `StateUnavailable`, so callers refuse with Retry-After instead of answering uncommitted.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from clients.protocol import (
    DEFAULT_TARGET,
    CameraLimits,
    CameraPatch,
    CameraStatus,
    Registration,
    SegmentFormat,
)
from configs.settings import Settings
from serving.calibration import correction
from serving.problems import QuotaExceeded, RequestProblem, StateUnavailable
from serving.state.alerts import AlertStore
from serving.state.audits import AuditStore, audits_key
from serving.state.averages import SMOOTHING
from serving.state.bundles import BundleStore
from serving.state.connection import PREFIX, SCRIPTS, camera_key, key_hash, reaching_redis
from serving.state.live import LiveStore
from serving.state.registry import KeyRegistry
from serving.state.results import LARGEST_MAPS, HeldMaps, ResultStore, results_key
from serving.state.tenants import TenantStore, names_key
from serving.state.transitions import UNTOLD, Decision, TransitionStore, transitions_key
from serving.state.usage import UsageStore, usage_key

BeginVerdict = Literal["go", "wait", "replay", "stale", "dropped", "missing"]
CommitVerdict = Literal["committed", "replay", "stale", "dropped", "missing"]


STATE_VERSION = 2
"""Version of a camera's state that `commit.lua` writes; it takes older ones over when it next commits."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What `begin` found: `detail` is the stored answer, the last seq, or the lease left in ms; `correction`
    is by how much the camera's audits found more accuracy than was predicted; `rates` are the camera's own
    limits, by name, where it has any."""

    verdict: BeginVerdict
    detail: str = ""
    target_miou: float = 0.0
    segment: SegmentFormat | None = None
    correction: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """One segment's outcome, ready to be counted. `dropped` pairs seq with cost. `audit_share` is the
    probability with which an audit was drawn, None where none could be; `audit_map` is the last frame's label
    map, as JSON, where this segment is audited. `bandwidth` is in megabytes per second. `bundle`
    is the one that answered. `result` is a
    `Result` as JSON, without what only the commit knows; `maps` are its label maps, kept for `maps_kept_s`.
    """

    seq: int
    configuration: int
    cost: float
    overuse: float | None
    deficit: float | None
    size: int
    frames: int
    target: float
    flops: int
    answer: str
    embedding: Sequence[float] | None
    dropped: Sequence[tuple[int, float]]
    audit_share: float | None = None
    audit_map: str | None = None
    bandwidth: float | None = None
    bundle: str = ""
    decision: Decision = UNTOLD
    result: str = "{}"
    window_s: float = 120.0
    maps: HeldMaps | None = None
    maps_kept_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Commitment:
    """What became of a commit: the answer is the one that is now stored. `past_hours` says that counters of
    usage wait to be folded; `drops` were counted with it, not having been before."""

    verdict: CommitVerdict
    answer: str
    past_hours: bool = False
    drops: int = 0


def pack_embedding(embedding: Sequence[float]) -> str:
    """An embedding as the state holds it: base64 of little-endian float32."""
    return base64.b64encode(np.asarray(embedding, "<f4").tobytes()).decode()


def exact(number: float) -> str:
    """17 significant digits: reads back as the same double everywhere."""
    return format(number, ".17g")


def _exact_or_empty(number: float | None) -> str:
    return "" if number is None else exact(number)


class StateStore:
    """Asynchronous access to one Redis (or Valkey) database, or to a cluster of them."""

    def __init__(
        self,
        url: str,
        answers_kept: int,
        lease_s: float,
        idle_s: float = 90 * 86_400,
        cluster: bool = False,
        transitions_kept: int = 0,
        results_kept: int = 256,
        maps_kept: int = 16,
    ) -> None:
        kind = redis.RedisCluster if cluster else redis.Redis
        # Any: redis-py's types know neither that this client is asynchronous nor that it decodes replies.
        self._redis: Any = kind.from_url(
            url,
            decode_responses=True,
            socket_timeout=5.0,
            socket_connect_timeout=1.0,
            retry=Retry(NoBackoff(), 1),
        )
        self._answers_kept, self._lease_ms, self._idle_s = answers_kept, round(lease_s * 1000), round(idle_s)
        self._transitions_kept, self._results_kept = transitions_kept, results_kept
        self._begin = self._redis.register_script((SCRIPTS / "begin.lua").read_text(encoding="utf-8"))
        self._commit = self._redis.register_script((SCRIPTS / "commit.lua").read_text(encoding="utf-8"))
        self.keys = KeyRegistry(self._redis)
        self.tenants = TenantStore(self._redis)
        self.usage = UsageStore(self._redis)
        self.alerts = AlertStore(self._redis)
        self.audits = AuditStore(self._redis, transitions_kept)
        self.transitions = TransitionStore(self._redis)
        self.live = LiveStore(self._redis)
        self.bundles = BundleStore(self._redis)
        self.results = ResultStore(self._redis, maps_kept)

    @classmethod
    def of(cls, settings: Settings, url: str) -> StateStore:
        """The store at `url` as the settings have it."""
        return cls(
            url,
            settings.answers_kept,
            settings.lease_s,
            settings.camera_idle_days * 86_400,
            settings.redis_cluster,
            settings.transitions_kept,
            settings.results_kept,
            settings.label_maps_kept,
        )

    async def close(self) -> None:
        await self._redis.aclose()

    async def ping(self) -> None:
        async with reaching_redis():
            await self._redis.ping()

    # Segments

    async def begin(self, camera: str, seq: int) -> Claim:
        """Claims a segment for `lease_s`, or says why it needs no work."""
        async with reaching_redis():
            reply = await self._begin(
                keys=_segment_keys(camera), args=[str(seq), self._lease_ms, STATE_VERSION]
            )
        verdict, *rest = reply
        if verdict == "newer":
            raise StateUnavailable(
                "A later version of the server wrote this camera's state. Send the segment there.",
                10,
            )
        if not rest:
            return Claim(verdict)
        detail, target, seconds, fps, width, height, weight, error, *rates = rest
        segment = SegmentFormat(seconds=float(seconds), fps=float(fps), width=int(width), height=int(height))
        return Claim(
            verdict,
            detail,
            float(target),
            segment,
            correction(float(weight), float(error)),
            {name: float(rate) for name, rate in zip(CameraLimits.model_fields, rates, strict=True) if rate},
        )

    async def renew(self, camera: str, seq: int) -> None:
        """Prolongs a claim while its segment is still being worked on."""
        async with reaching_redis():
            ends = round(time.time() * 1000) + self._lease_ms
            await self._redis.zadd(_segment_keys(camera)[2], {str(seq): ends}, xx=True)

    @asynccontextmanager
    async def held(self, camera: str, seq: int) -> AsyncIterator[None]:
        """Prolongs a claim in the background, three times a lease, while its segment is being worked on."""
        over = False

        async def renew() -> None:
            # Cancelling alone would not do: on Python 3.11, redis-py's writing may swallow it (its
            # asyncio.wait_for, python/cpython#86296), and a claim renewed for ever keeps everyone waiting.
            while not over:
                await asyncio.sleep(self._lease_ms / 3e3)
                with suppress(RequestProblem):
                    await self.renew(camera, seq)

        renewal = asyncio.create_task(renew())
        try:
            yield
        finally:
            over = True
            renewal.cancel()

    async def release(self, camera: str, seq: int) -> None:
        """Ends a claim without a commit, so that the next try need not wait for the lease."""
        async with reaching_redis():
            await self._redis.zadd(_segment_keys(camera)[2], {str(seq): 0}, xx=True)

    async def commit(self, camera: str, commit: Commit) -> Commitment:
        """Counts a segment exactly once."""
        maps = "" if commit.maps is None else commit.maps.text()
        arguments = [
            str(commit.seq),
            str(commit.configuration),
            exact(commit.cost),
            _exact_or_empty(commit.overuse),
            _exact_or_empty(commit.deficit),
            str(commit.size),
            str(commit.frames),
            exact(commit.target),
            commit.answer,
            exact(SMOOTHING),
            str(self._answers_kept),
            "" if commit.embedding is None else pack_embedding(commit.embedding),
            ",".join(f"{seq}:{exact(cost)}" for seq, cost in commit.dropped),
            str(commit.flops),
            str(self._idle_s),
            "" if commit.audit_share is None else exact(commit.audit_share),
            commit.audit_map or "",
            str(self._transitions_kept),
            _exact_or_empty(commit.bandwidth),
            _exact_or_empty(commit.decision.probability),
            "" if commit.decision.feedback is None else str(commit.decision.feedback),
            commit.decision.seen,
            commit.result,
            str(self._results_kept),
            str(round(commit.window_s * 1000)),
            maps if len(maps) <= LARGEST_MAPS else "",
            str(max(1, round(commit.maps_kept_s))),
            commit.bundle,
        ]
        own = (usage_key(camera), audits_key(camera), transitions_key(camera), results_key(camera))
        async with reaching_redis():
            verdict, answer, *counts = await self._commit(
                keys=[*_segment_keys(camera), *own, self.results.maps_key(camera, commit.seq)], args=arguments
            )
        past, drops = counts or (0, 0)
        return Commitment(verdict, answer, past == 1, drops)

    # Cameras

    async def register(self, tenant: str, camera: str, registration: Registration, most: int) -> str:
        """Creates a camera under its name, or updates the one that has it; returns its id.
        Raises `QuotaExceeded` for a new one above the `most` that the tenant may have."""
        held = await self.tenants.name_camera(tenant, registration.name, camera, most)
        if held is None:
            raise QuotaExceeded(
                f"This tenant may have {most} cameras and has them. Delete one, or ask the operator for more."
            )
        camera = held
        async with reaching_redis():
            key = camera_key(camera)
            fields = {"tenant": tenant, "name": registration.name, **_format_fields(registration.segment)}
            if registration.target_miou is not None:
                fields["target_miou"] = exact(registration.target_miou)
            await self._redis.hset(key, mapping=fields)
            await self._redis.hsetnx(key, "target_miou", exact(DEFAULT_TARGET))
            await self._redis.hsetnx(key, "created_at", exact(time.time()))
            await self._redis.expire(key, self._idle_s)
        return camera

    async def patch(self, camera: str, patch: CameraPatch) -> None:
        fields = {} if patch.segment is None else _format_fields(patch.segment)
        if patch.target_miou is not None:
            fields["target_miou"] = exact(patch.target_miou)
        limits = {} if patch.limits is None else patch.limits.model_dump(exclude_unset=True)
        fields |= {name: exact(rate) for name, rate in limits.items() if rate is not None}
        lifted = [name for name, rate in limits.items() if rate is None]
        if fields or lifted:
            async with reaching_redis(), self._redis.pipeline(transaction=True) as transaction:
                if fields:
                    transaction.hset(camera_key(camera), mapping=fields)
                if lifted:
                    transaction.hdel(camera_key(camera), *lifted)
                await transaction.execute()

    async def status(self, camera: str) -> CameraStatus | None:
        """Everything but the embedding; None for an unknown camera."""
        async with reaching_redis():
            found: dict[str, str] = await self._redis.hgetall(camera_key(camera))
        if "name" not in found:
            return None
        return CameraStatus(
            id=camera,
            name=found["name"],
            target_miou=float(found["target_miou"]),
            limits=CameraLimits.model_validate(
                {name: found[name] for name in CameraLimits.model_fields if name in found}
            ),
            segment=SegmentFormat(
                seconds=float(found["seconds"]),
                fps=float(found["fps"]),
                width=int(found["width"]),
                height=int(found["height"]),
            ),
            next_seq=int(found.get("last_seq", -1)) + 1,
            segments=int(found.get("segments", 0)),
            dropped=int(found.get("dropped", 0)),
            bytes=int(found.get("bytes", 0)),
            cost_total=float(found.get("cost_total", 0)),
            cost_average=_number(found.get("cost_average")),
            deficit_average=_number(found.get("deficit_average")),
            overuse_average=_number(found.get("overuse_average")),
            last_configuration=int(found["last_configuration"]) if "last_configuration" in found else None,
        )

    async def owner(self, camera: str) -> str | None:
        """The tenant a camera belongs to; None for an unknown camera."""
        async with reaching_redis():
            owner: str | None = await self._redis.hget(camera_key(camera), "tenant")
        return owner

    async def delete(self, tenant: str, camera: str) -> None:
        """Forgets a camera, its state and its token. What it used stays in its tenant's ledger: nothing can
        be committed once the state is gone, then the last counts are folded, then its name is free."""
        async with reaching_redis():
            name, token = await self._redis.hmget(camera_key(camera), "name", "token_id")
            if token:
                await self._redis.delete(key_hash(token))
            await self._redis.delete(
                *_segment_keys(camera),
                audits_key(camera),
                transitions_key(camera),
                *self.results.keys(camera),
            )
        await self.usage.fold(tenant, camera, name or "")
        await self.usage.forget(camera)
        if name:
            async with reaching_redis():
                await self._redis.hdel(names_key(tenant), name)

    # Keys

    async def store_key(self, key_id: str, fields: dict[str, str]) -> None:
        async with reaching_redis():
            await self._redis.hset(key_hash(key_id), mapping=fields)

    async def read_key(self, key_id: str) -> dict[str, str]:
        """The stored fields of a key; empty for an unknown one."""
        async with reaching_redis():
            fields: dict[str, str] = await self._redis.hgetall(key_hash(key_id))
        return fields

    async def replace_camera_token(self, camera: str, key_id: str) -> None:
        """Makes `key_id` the camera's only token."""
        async with reaching_redis():
            old = await self._redis.hget(camera_key(camera), "token_id")
            await self._redis.hset(camera_key(camera), "token_id", key_id)
            if old and old != key_id:
                await self._redis.delete(key_hash(old))


def _segment_keys(camera: str) -> list[str]:
    return [camera_key(camera), f"{PREFIX}{{{camera}}}:answers", f"{PREFIX}{{{camera}}}:open"]


def _format_fields(segment: SegmentFormat) -> dict[str, Any]:
    return {
        "seconds": exact(segment.seconds),
        "fps": exact(segment.fps),
        "width": str(segment.width),
        "height": str(segment.height),
    }


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
