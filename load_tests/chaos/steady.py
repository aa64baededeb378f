"""Cameras that send at a steady pace through whatever happens, and note what they saw.

They talk to the server by the camera's own library, with its addresses and its waits between attempts, so
that what is measured is what a camera sees.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from clients.bandwidth import Uplink
from clients.connection import PenanceServer, SegmentParameters
from clients.errors import RefusedByServer, ServerUnreachable, TryLater, problem_slug
from clients.protocol import Registration
from clients.retry import Backoff, retry_delay
from configs.bundle import Bundle
from load_tests.chaos.journal import BANDWIDTH, FORM, Journal, usage_differences
from load_tests.plain_camera import PlainCamera

DEADLINE_S = 20.0
UNREACHABLE = "no answer"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as its camera saw it; times by `time.monotonic`. `told` is empty for an answer."""

    asked: float
    ended: float
    told: str = ""


@dataclass
class SteadyCamera:
    """One camera in a thread of its own: a segment every `interval_s`, each until it is answered."""

    server: PenanceServer
    journal: Journal
    interval_s: float
    attempts: list[Attempt] = field(default_factory=list)
    fault: str = ""
    """What no camera should ever be told; it then stops."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        due, seq = time.monotonic() + random.random() * self.interval_s, 0
        while not self.stopped.wait(max(0.0, due - time.monotonic())) and not self.fault:
            self._until_answered(seq)
            seq, due = seq + 1, max(due + self.interval_s, time.monotonic())

    def _until_answered(self, seq: int) -> None:
        """Once begun it goes on until the answer is there, also when told to stop: it may be committed."""
        body, uplink = self.journal.body, Uplink()
        configuration = self.journal.configurations[seq % len(self.journal.configurations)]
        parameters = SegmentParameters(
            configuration=configuration,
            bundle=self.journal.camera.bundle,
            bandwidth=BANDWIDTH,
            deadline_ms=1000 * DEADLINE_S,
        )
        for attempt in range(1, 1000):
            asked = time.monotonic()
            try:
                answer = self.server.send_segment(seq, uplink.upload(body, None), len(body), parameters)
            except (ServerUnreachable, TryLater) as error:
                told = problem_slug(error.problem) if isinstance(error, TryLater) else UNREACHABLE
                self.attempts.append(Attempt(asked, time.monotonic(), told))
                time.sleep(retry_delay(error, attempt, Backoff(), random.random) or 0.0)
            except RefusedByServer as error:
                told = f"{error.problem.status} {error.slug}"
                self.attempts.append(Attempt(asked, time.monotonic(), told))
                if error.problem.status < 500:
                    self.fault = f"segment {seq} was refused: {error}"
                    return
                time.sleep(random.random())
            else:
                self.attempts.append(Attempt(asked, time.monotonic()))
                self.journal.answers[seq] = answer.model_copy(update={"replayed": False})
                self.journal.committed.append((seq, answer.configuration, ()))
                return


@dataclass(frozen=True, slots=True)
class Seen:
    """What all cameras saw of a fault that lasted from `began` to `ended` (monotonic seconds)."""

    told: dict[str, int]
    longest_gap_s: float
    gap_began_s: float
    recovered_s: float
    answered: int


def seen(cameras: Sequence[Sequence[Attempt]], began: float, ended: float, watched: float) -> Seen:
    """Of attempts that ended between `began` and `watched`.

    A gap is the time between two answers of one camera; where the longest began is counted from the fault's
    beginning. Recovered is when the last camera that was told
    something else, or that waited across the fault's end, was answered: in seconds after the end.
    """
    told: Counter[str] = Counter()
    gaps, again, answered = [(0.0, began)], [0.0], 0
    for attempts in cameras:
        inside = [a for a in attempts if began <= a.ended <= watched]
        told.update(a.told for a in inside if a.told)
        answers = [a.ended for a in attempts if not a.told and a.ended <= watched]
        before = max((at for at in answers if at < began), default=began)
        times = [before, *(at for at in answers if at >= began)]
        answered += len(times) - 1
        gaps += [(b - a, a) for a, b in itertools.pairwise(times)]
        if len(times) == 1:
            gaps.append((watched - before, before))
        last_failure = max((a.ended for a in inside if a.told), default=ended)
        first = min((at for at in answers if at >= max(ended, last_failure)), default=float("inf"))
        again.append(first - ended)
    longest, since = max(gaps)
    return Seen(dict(told), longest, since - began, max(again), answered)


class SteadyTraffic:
    """So many steady cameras of one tenant; `differences` compares what the server counted in the end."""

    def __init__(self, bundle: Bundle, key: str, status_url: str, body: bytes, rungs: Sequence[int]) -> None:
        self._bundle, self._key, self._body, self._rungs = bundle, key, body, tuple(rungs)
        self._http = httpx.Client(base_url=status_url, timeout=60)
        self.cameras: list[SteadyCamera] = []

    @contextmanager
    def sending(self, addresses: str, count: int, interval_s: float) -> Iterator[SteadyTraffic]:
        """Cameras send until the context is left; each then still gets the answer that it waits for."""
        self.cameras = [self._camera(addresses, interval_s) for _ in range(count)]
        threads = [threading.Thread(target=camera.run) for camera in self.cameras]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for camera in self.cameras:
                camera.stopped.set()
            for thread in threads:
                thread.join()
            for camera in self.cameras:
                camera.server.close()

    def _camera(self, addresses: str, interval_s: float) -> SteadyCamera:
        server = PenanceServer(addresses, self._key)
        found = server.register(Registration(name=uuid.uuid4().hex, target_miou=None, segment=FORM))
        plain = PlainCamera(self._http, found.id, found.token, found.bundle, found.next_seq)
        journal = Journal(plain, self._rungs, 0, self._body, random.Random(0))
        return SteadyCamera(server, journal, interval_s)

    def attempts(self) -> list[list[Attempt]]:
        return [list(camera.attempts) for camera in self.cameras]

    def differences(self) -> list[str]:
        """Where the server's counters, averages or usage are not those of replaying the answers in order."""
        journals = [camera.journal for camera in self.cameras]
        lines = [camera.fault for camera in self.cameras if camera.fault]
        lines += [line for journal in journals for line in journal.differences(self._bundle)]
        return lines + usage_differences(self._http, self._key, journals, self._bundle)
