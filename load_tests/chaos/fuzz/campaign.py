"""Runs cases side by side against a running application, and looks now and then whether it is still well."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import psutil

from clients.protocol import SEGMENT_TYPE, SegmentFormat
from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.benchmarks.traffic import Fleet, VirtualCamera
from load_tests.chaos.fuzz.case import Case, Target
from load_tests.chaos.fuzz.cases import make_case
from load_tests.chaos.fuzz.exchange import Heard, exchange
from load_tests.chaos.fuzz.judgement import fault, outcome
from load_tests.chaos.processes import Held, family, held
from load_tests.footage import Footage

FORM = SegmentFormat(seconds=0.2, fps=15, width=128, height=96)
RUNG = (0.5, 30, 4)
"""The cheapest configuration: what is tried is the way to the network, not the network."""
CHECK_EVERY = 1000
SETTLE_S = 10.0
WARM_UP = 5000
"""Cases until memory is first measured, or a tenth of all: processes fill their pools at first."""
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that was answered as it should not be."""

    index: int
    family: str
    what: str
    fault: str
    answer: str


@dataclass(slots=True)
class Tally:
    """What became of a run so far."""

    cases: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unwell: list[str] = field(default_factory=list)
    """What was wrong when a good segment was sent between cases."""
    next_index: int = 0
    """The first case that was not finished: where to go on."""
    seconds: float = 0.0
    held_before: dict[str, Held] = field(default_factory=dict)
    held_after: dict[str, Held] = field(default_factory=dict)
    decoders: int = 0
    decoders_replaced: int = 0
    decoders_missing: int = 0

    def take(self, case: Case, heard: Heard) -> None:
        self.cases += 1
        self.outcomes[case.family, outcome(heard)] += 1
        found = fault(case, heard)
        if found is not None:
            answer = heard.body[:300].decode("utf-8", "replace") or " ".join(heard.messages)[:300]
            self.findings.append(Finding(case.index, case.family, case.what, found, answer))


class Campaign:
    """Cases `first` to `first + count` of a seed. `told` gets the number of cases done."""

    def __init__(
        self,
        application: RunningApplication,
        bundle: Bundle,
        key: str,
        tenant: str,
        seed: int,
        at_once: int,
        told: Callable[[int], None] = lambda done: None,
    ) -> None:
        self._application, self._bundle, self._key, self._tenant = application, bundle, key, tenant
        self._seed, self._at_once, self._told = seed, at_once, told
        configuration = bundle.ladder[bundle.ladder.index(*RUNG)]
        self._segments: Sequence[bytes] = Footage(bundle, FORM, stretches=4).bodies(configuration)
        self._rung = configuration
        self.tally = Tally()

    async def run(self, first: int, count: int) -> Tally:
        """All cases, or those until the task is cancelled; the tally then says where to go on."""
        started, tally = time.perf_counter(), self.tally
        self._open, self._next, self._end = set[int](), first, first + count
        async with Fleet(self._application.url, self._bundle, FORM, PATIENCE_S) as fleet:
            cameras = await fleet.cameras(self._key, 2 * self._at_once + 1, self._rung, self._segments)
            self._witness, self._shares = cameras[-1], await self._answered(cameras[-1])
            decoders = self._decoders()
            targets = [self._target(*pair) for pair in zip(cameras[0:-1:2], cameras[1:-1:2], strict=True)]
            working = asyncio.gather(*(self._work(target) for target in targets))
            try:
                await working
                await self._look()
                await asyncio.sleep(SETTLE_S)
            except asyncio.CancelledError:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
            tally.next_index = min(self._open, default=self._next)
            tally.seconds = time.perf_counter() - started
            tally.held_after = held(self._application)
            self._count(decoders, self._decoders())
        return tally

    async def _work(self, target: Target) -> None:
        address = urlsplit(self._application.url)
        assert address.hostname is not None
        assert address.port is not None
        while self._next < self._end:
            index, self._next = self._next, self._next + 1
            self._open.add(index)
            case = make_case(self._seed, index, self._segments, target)
            try:
                heard = await exchange(case, address.hostname, address.port)
            except OSError as error:
                self.tally.unwell.append(f"case {index}: no connection ({error})")
                heard = Heard()
            self.tally.take(case, heard)
            self._open.discard(index)
            await self._after()

    async def _after(self) -> None:
        tally = self.tally
        self._told(tally.cases)
        if tally.cases % CHECK_EVERY == 0:
            await self._look()
        if not tally.held_before and tally.cases >= min(
            WARM_UP, (self._end - self._next + tally.cases) // 10
        ):
            tally.held_before = held(self._application)

    async def _look(self) -> None:
        """A good segment must be answered as at the start."""
        try:
            shares = await self._answered(self._witness)
        except (httpx.HTTPError, RuntimeError) as error:
            self.tally.unwell.append(f"after {self.tally.cases} cases: {error}")
            return
        if shares != self._shares:
            self.tally.unwell.append(f"after {self.tally.cases} cases a good segment is answered otherwise")

    async def _answered(self, camera: VirtualCamera) -> dict[str, float]:
        """Class shares of the same good segment, sent anew until it is answered."""
        ends = time.monotonic() + PATIENCE_S
        seq, camera.seq = camera.seq, camera.seq + 1
        while True:
            answer = await camera.http.put(
                f"/v1/clients/{camera.id}/segments/{seq}",
                content=camera.bodies[0],
                params={"configuration": camera.configuration, "bundle": camera.bundle},
                headers={"authorization": f"Bearer {camera.token}", "content-type": SEGMENT_TYPE},
            )
            if answer.status_code == httpx.codes.OK:
                return dict(answer.json()["class_shares"])
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > ends:
                raise RuntimeError(f"a good segment was answered {answer.status_code}: {answer.text[:300]}")
            await asyncio.sleep(0.5)

    def _target(self, camera: VirtualCamera, victim: VirtualCamera) -> Target:
        return Target(
            urlsplit(self._application.url).netloc,
            self._key,
            self._tenant,
            camera.id,
            camera.token,
            victim.id,
            self._bundle.id,
            self._rung.index,
        )

    def _decoders(self) -> list[psutil.Process]:
        return family(self._application).get("decoder", [])

    def _count(self, before: list[psutil.Process], after: list[psutil.Process]) -> None:
        self.tally.decoders = len(after)
        self.tally.decoders_missing = max(0, len(before) - len(after))
        self.tally.decoders_replaced = len({p.pid for p in before} - {p.pid for p in after})
