"""Results in the database: for each camera a stream in its own slot, which the script that commits writes, so
that what is accepted is in it once; and a ring of label maps beside it.

Both end by themselves: the stream holds what is within its tenant's window and at most so many results, each
label map is a key with a lifetime, and the next one takes its place in the ring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from clients.protocol import LabelMaps, MaskMode
from clients.results import AuditResult, Gap, Result, Retention, RetentionPatch
from serving.state.connection import PREFIX, SCRIPTS, reaching_redis
from serving.state.registry import entry, tenant_log

PAGE = 64
LARGEST_MAPS = 2 * 2**20
"""Bytes of label maps in the ring; larger ones, which no network makes of a street, are not kept."""
REPLAY_S = 60.0
"""How long label maps that a camera asked for are there for it to ask again, whatever its tenant keeps."""
EVERYTHING = "0-0"
NOBODY = "now"
"""In place of a camera's id: its stream is empty, so what is told of it is Redis's time alone."""


@dataclass(frozen=True, slots=True)
class HeldMaps:
    """A segment's label maps as the ring has them: `asked` by its camera, `kept` for readers."""

    seq: int
    asked: MaskMode
    kept: MaskMode
    maps: str  # LabelMaps as JSON

    def text(self) -> str:
        return f"{self.seq} {self.asked} {self.kept}\n{self.maps}"

    @classmethod
    def of(cls, text: str | None, seq: int) -> HeldMaps | None:
        """None where the ring's place holds nothing, or those of another segment."""
        if text is None:
            return None
        head, _, maps = text.partition("\n")
        number, asked, kept = head.split(" ")
        if int(number) != seq:
            return None
        return cls(seq, cast(MaskMode, asked), cast(MaskMode, kept), maps)

    def for_camera(self) -> LabelMaps | None:
        """What the camera got."""
        return self._part(self.asked)

    def for_reader(self, mode: MaskMode) -> LabelMaps | None:
        """What a reader who wants `mode` gets: no more than is kept."""
        return self._part(min(mode, self.kept, key=get_args(MaskMode).index))

    def _part(self, mode: MaskMode) -> LabelMaps | None:
        if mode == "none":
            return None
        maps = LabelMaps.model_validate_json(self.maps)
        return maps.last() if mode == "last" else maps


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream: its id, and the event that it is."""

    id: str
    event: Result | AuditResult


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader goes on: behind this id; `gap` is what it missed."""

    after: str
    gap: Gap | None = None


class ResultStore:
    """Reads results; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any, maps_kept: int) -> None:
        self._redis, self._maps_kept = client, maps_kept
        self._find = client.register_script((SCRIPTS / "find_result.lua").read_text(encoding="utf-8"))

    async def now(self) -> str:
        """An id behind everything that was written before, and before everything written later."""
        return (await self.place(NOBODY, None)).after

    async def place(self, camera: str, after: int | None) -> Place:
        """Where to go on after a segment: None means with the next that comes, -1 with all that is held."""
        if after == -1:
            return Place(EVERYTHING)
        async with reaching_redis():
            found, *rest = await self._find(
                keys=[results_key(camera), f"{PREFIX}{{{camera}}}:camera"],
                args=["" if after is None else str(after)],
            )
        if found:
            return Place(found)
        assert after is not None
        following = None if rest[0] == "" else int(rest[0])
        return Place(EVERYTHING, Gap(camera=camera, after=after, next=following))

    async def read(self, positions: Mapping[str, str]) -> dict[str, list[Entry]]:
        """The next entries of these cameras, each behind its position, a page at most."""
        async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
            for camera, after in positions.items():
                reads.xrange(results_key(camera), f"({after}", "+", count=PAGE)
            found = await reads.execute()
        return {
            camera: [_entry(camera, number, fields) for number, fields in page]
            for camera, page in zip(positions, found, strict=True)
            if page
        }

    async def maps(self, camera: str, seqs: Sequence[int]) -> dict[int, HeldMaps]:
        """Label maps of these segments, as far as they are held."""
        async with reaching_redis(), self._redis.pipeline(transaction=False) as reads:
            for seq in seqs:
                reads.get(self.maps_key(camera, seq))
            found = await reads.execute()
        held = {seq: HeldMaps.of(text, seq) for seq, text in zip(seqs, found, strict=True)}
        return {seq: maps for seq, maps in held.items() if maps is not None}

    def maps_key(self, camera: str, seq: int) -> str:
        """Name of a segment's place in the camera's ring of label maps."""
        return f"{PREFIX}{{{camera}}}:maps:{seq % self._maps_kept}"

    def keys(self, camera: str) -> list[str]:
        """Names of all that is held of a camera's results."""
        return [results_key(camera), *(self.maps_key(camera, place) for place in range(self._maps_kept))]

    # What tenants keep

    async def retention(self, tenant: str, defaults: Retention) -> Retention:
        """What a tenant keeps: what it set, over the defaults."""
        async with reaching_redis():
            own: dict[str, str] = await self._redis.hgetall(_retention_key(tenant))
        known = {name: own[name] for name in Retention.model_fields if name in own}
        return Retention.model_validate(defaults.model_dump() | known)

    async def set_retention(self, tenant: str, patch: RetentionPatch, actor: str) -> None:
        """Writes a change down in the tenant's log, then makes it."""
        changes = patch.model_dump(include=patch.model_fields_set)
        given = {name: str(value) for name, value in changes.items() if value is not None}
        async with reaching_redis():
            detail = json.dumps(changes)
            await entry(self._redis, tenant_log(tenant), actor, "retention.set", tenant, tenant, detail)
            async with self._redis.pipeline(transaction=True) as transaction:
                if given:
                    transaction.hset(_retention_key(tenant), mapping=given)
                if len(given) < len(changes):
                    transaction.hdel(_retention_key(tenant), *(set(changes) - set(given)))
                await transaction.execute()


def results_key(camera: str) -> str:
    """Name of the stream of a camera's results."""
    return f"{PREFIX}{{{camera}}}:results"


def _retention_key(tenant: str) -> str:
    return f"{PREFIX}{{{tenant}}}:retention"


def _entry(camera: str, number: str, fields: dict[str, str]) -> Entry:
    """`result` is the message's JSON without what only the script knew."""
    at = int(number.partition("-")[0]) / 1e3
    if "miou" in fields:
        seq, miou = int(fields["seq"]), float(fields["miou"])
        return Entry(number, AuditResult(camera=camera, seq=seq, at=at, miou=miou))
    known = json.loads(fields["result"])
    known["previous"] = int(fields["previous"]) if fields["previous"] else None
    known["dropped"] = [int(seq) for seq in fields["dropped"].split(",") if seq]
    return Entry(number, Result.model_validate({"camera": camera, "at": at, **known}))
