"""Cameras that send segments compressed beforehand: at their own clock (open loop), whatever they are told,
or each as soon as the one before is answered (closed loop). One process, asyncio, connections of their own.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from clients.protocol import SEGMENT_TYPE, SegmentFormat
from configs.bundle import Bundle
from configs.ladder import Configuration

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request. Times are `time.perf_counter` seconds; status 0: no answer at all."""

    due: float
    sent: float
    ended: float
    status: int
    problem: str = ""

    @property
    def latency_s(self) -> float:
        return self.ended - self.sent


@dataclass(slots=True)
class VirtualCamera:
    """A registered camera with what it sends."""

    http: httpx.AsyncClient
    id: str
    token: str
    bundle: str
    configuration: int
    bodies: Sequence[bytes]
    deadline_s: float
    seq: int = 0
    journal: list[Sent] = field(default_factory=list)

    async def send(self, due: float, deadline_s: float | None = None) -> Sent:
        """Sends the next segment and writes down what became of it; with another deadline than its own if
        one is given."""
        seq, self.seq = self.seq, self.seq + 1
        started, status, problem = time.perf_counter(), 0, ""
        try:
            answer = await self._put(seq, deadline_s or self.deadline_s)
            status = answer.status_code
            if status != 200:
                problem = str(answer.json().get("type", "")).rpartition(":")[2]
        except (httpx.TransportError, ValueError) as error:
            problem = type(error).__name__
        sent = Sent(due, started, time.perf_counter(), status, problem)
        self.journal.append(sent)
        return sent

    async def _put(self, seq: int, deadline_s: float) -> httpx.Response:
        return await self.http.put(
            f"/v1/clients/{self.id}/segments/{seq}",
            content=self.bodies[seq % len(self.bodies)],
            params={
                "configuration": self.configuration,
                "bundle": self.bundle,
                "deadline_ms": 1e3 * deadline_s,
            },
            headers={"authorization": f"Bearer {self.token}", "content-type": SEGMENT_TYPE},
        )

    async def at_its_own_clock(self, first: float, interval_s: float, until: float) -> None:
        """Open loop: a segment every `interval_s`, whether or not the one before was answered."""
        due, sending = first, set[asyncio.Task[Sent]]()
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self.send(due))
            sending.add(task)
            task.add_done_callback(sending.discard)
            due += interval_s
        await asyncio.gather(*sending)

    async def one_after_the_other(self, until: float) -> None:
        """Closed loop: the next segment as soon as the one before is answered, however long that takes."""
        while (now := time.perf_counter()) < until:
            await self.send(now, PATIENCE_S)


class Fleet:
    """Registers cameras as they are needed, and keeps those that it has; use it as a context manager."""

    def __init__(self, url: str, bundle: Bundle, form: SegmentFormat, deadline_s: float) -> None:
        self._url, self._bundle, self._form, self._deadline_s = url, bundle, form, deadline_s
        self._cameras: dict[str, list[VirtualCamera]] = {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._registering = httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits)

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._registering.aclose()
        for camera in (camera for cameras in self._cameras.values() for camera in cameras):
            await camera.http.aclose()

    async def cameras(
        self, key: str, count: int, configuration: Configuration, bodies: Sequence[bytes]
    ) -> list[VirtualCamera]:
        """So many cameras of the tenant with this key, set to a configuration, their journals empty."""
        held = self._cameras.setdefault(key, [])
        while len(held) < count:
            held.append(await self._register(key))
        for camera in held[:count]:
            camera.configuration, camera.bodies = configuration.index, bodies
            camera.journal.clear()
        return held[:count]

    async def _register(self, key: str) -> VirtualCamera:
        found = await self._registering.post(
            "/v1/clients",
            json={"name": uuid.uuid4().hex, "segment": self._form.model_dump()},
            headers={"authorization": f"Bearer {key}"},
        )
        registered = found.raise_for_status().json()
        http = (
            httpx.AsyncClient(  # one each: httpx looks through all connections of a client at every request
                base_url=self._url, timeout=PATIENCE_S, transport=httpx.AsyncHTTPTransport(verify=False)
            )
        )
        return VirtualCamera(
            http, registered["id"], registered["token"], self._bundle.id, 0, (), self._deadline_s
        )


async def open_loop(
    groups: Sequence[tuple[list[VirtualCamera], float]], seconds: float, ticked: Callable[[float], None]
) -> None:
    """Groups of cameras send side by side, each group so many segments a second in all, evenly spread."""
    start = time.perf_counter() + 0.1
    running = [
        camera.at_its_own_clock(start + number / rate, len(cameras) / rate, start + seconds)
        for cameras, rate in groups
        for number, camera in enumerate(cameras)
    ]
    await _ticking(asyncio.gather(*running), ticked)


async def closed_loop(cameras: list[VirtualCamera], seconds: float, ticked: Callable[[float], None]) -> None:
    until = time.perf_counter() + seconds
    await _ticking(asyncio.gather(*(camera.one_after_the_other(until) for camera in cameras)), ticked)


async def _ticking(work: asyncio.Future[list[None]], ticked: Callable[[float], None]) -> None:
    started = time.perf_counter()
    while not (await asyncio.wait([work], timeout=0.5))[0]:
        ticked(time.perf_counter() - started)
    await work
