"""Results as server-sent events: a camera's, or those of all of a tenant's cameras.

A connection holds nothing but where it has got to, and looks into the streams a few times a second. So it
reads as fast as its reader does, and any other replica goes on where it broke off.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from clients.protocol import MaskMode
from clients.results import Gap, Result
from serving.ingress.services import Services
from serving.problems import RequestProblem
from serving.state.results import PAGE, Entry, Place

POLL_S = 0.2
POLL_PER_CAMERA_S = 1e-3
"""A tenant's thousand cameras are looked at once a second."""
PING_S = 15.0
CAMERAS_S = 5.0
CHECK_S = 30.0
"""How often a connection's key is looked at again, in a cache that is a minute old at most."""
OVERLAP_S = 2.0
"""By how much clocks of a cluster's nodes may differ: from so long before a tenant's reader goes on."""


Batch = Sequence[tuple[Entry, str | None]]
"""Entries with the ids that their events get."""


def number(identifier: str) -> tuple[int, int]:
    """A stream's id as numbers, to compare."""
    milliseconds, _, count = identifier.partition("-")
    return int(milliseconds), int(count)


def in_order(pages: Mapping[str, Sequence[Entry]], full: int = PAGE) -> list[Entry]:
    """Entries of several streams by their ids. Behind a full page more may follow, so what is later than the
    end of one waits for the next reading."""
    ends = [number(page[-1].id) for page in pages.values() if len(page) >= full]
    merged = sorted((entry for page in pages.values() for entry in page), key=lambda entry: number(entry.id))
    return [entry for entry in merged if not ends or number(entry.id) <= min(ends)]


def overlapping(identifier: str) -> str:
    """From where a tenant's reader goes on, whichever node's clock the id is by; it gets things again."""
    return f"{max(0, number(identifier)[0] - round(OVERLAP_S * 1000))}-0"


def _seq(entry: Entry) -> str | None:
    """An audit has no id: it is no segment of its own."""
    return str(entry.event.seq) if isinstance(entry.event, Result) else None


class Feed:
    """One reader's events. `cameras` says whose; `check` raises once the reader's key may not read this any
    more, and the feed ends with that problem.

    An event's id says that its reader has everything up to there. Of one camera that is its seq. Streams of
    several cameras are read one after the other, and an entry of one may be older than what was read of
    another: so no id there is later than when the reading began.
    """

    def __init__(
        self,
        services: Services,
        tenant: str,
        masks: MaskMode,
        cameras: Callable[[], Awaitable[Sequence[str]]],
        check: Callable[[], Awaitable[None]],
    ) -> None:
        self._services, self._tenant, self._masks = services, tenant, masks
        self._cameras, self._check = cameras, check

    async def of_camera(self, place: Place) -> AsyncIterator[bytes]:
        """What comes of the one camera."""

        async def batches() -> AsyncIterator[Batch]:
            async for batch in self._batches(place.after):
                yield [(entry, _seq(entry)) for entry in batch]

        async for event in self._events(batches(), place.gap):
            yield event

    async def of_tenant(self, after: str) -> AsyncIterator[bytes]:
        """What comes of all cameras."""

        async def batches() -> AsyncIterator[Batch]:
            begun = await self._services.store.results.now()
            async for batch in self._batches(after):
                yield [(entry, min(entry.id, begun, key=number)) for entry in batch]
                begun = await self._services.store.results.now()

        async for event in self._events(batches(), None):
            yield event

    async def _events(self, batches: AsyncIterator[Batch], gap: Gap | None) -> AsyncIterator[bytes]:
        """Events for ever, with a comment now and then so that no proxy hangs up."""
        yield KEEPALIVE_COMMENT
        if gap is not None:
            yield format_sse_event(event="gap", data_str=gap.model_dump_json())
        said = time.monotonic()
        try:
            async for batch in batches:
                for entry, identity in batch:
                    name = "result" if isinstance(entry.event, Result) else "audit"
                    yield format_sse_event(event=name, data_str=entry.event.model_dump_json(), id=identity)
                if batch:
                    said = time.monotonic()
                elif time.monotonic() - said >= PING_S:
                    said = time.monotonic()
                    yield KEEPALIVE_COMMENT
        except RequestProblem as problem:
            yield format_sse_event(event="problem", data_str=json.dumps(problem.document()))

    async def _batches(self, after: str) -> AsyncIterator[Sequence[Entry]]:
        """What has come, in order; nothing where nothing has."""
        positions: dict[str, str] = {}
        checked = time.monotonic()
        looked = checked - CAMERAS_S
        while True:
            now = time.monotonic()
            if now - checked >= CHECK_S:
                checked = now
                await self._check()
            if now - looked >= CAMERAS_S:
                looked = now
                positions = {camera: positions.get(camera, after) for camera in await self._cameras()}
            pages = await self._services.store.results.read(positions)
            batch = in_order(pages)
            positions |= {entry.event.camera: entry.id for entry in batch}
            yield await self._with_maps(batch)
            if not any(len(page) >= PAGE for page in pages.values()):
                await asyncio.sleep(max(POLL_S, POLL_PER_CAMERA_S * len(positions)))

    async def _with_maps(self, batch: Sequence[Entry]) -> Sequence[Entry]:
        """The same entries with the label maps that the reader asked for and the tenant keeps."""
        if self._masks == "none" or not batch:
            return batch
        if (await self._services.retention.get(self._tenant)).label_maps == "none":
            return batch
        seqs: dict[str, list[int]] = {}
        for entry in batch:
            if isinstance(entry.event, Result):
                seqs.setdefault(entry.event.camera, []).append(entry.event.seq)
        held = {
            camera: await self._services.store.results.maps(camera, some) for camera, some in seqs.items()
        }
        full: list[Entry] = []
        for entry in batch:
            maps = held.get(entry.event.camera, {}).get(entry.event.seq)
            if isinstance(entry.event, Result) and maps is not None:
                read = await asyncio.to_thread(maps.for_reader, self._masks)
                entry = Entry(entry.id, entry.event.model_copy(update={"masks": read}))
            full.append(entry)
        return full
