"""Redis is away for ten seconds while cameras send, and comes back: what they are told meanwhile, how soon
all of them are answered again, and whether anything was lost or counted twice. It runs by
`python -m load_tests.chaos.redis_away`.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.console import Console

from configs.bundle import Bundle
from configs.settings import Settings
from load_tests.application import RunningApplication, image_flags
from load_tests.chaos.exactly_once import CHEAP
from load_tests.chaos.journal import FORM, Journal, usage_differences
from load_tests.footage import Footage
from load_tests.plain_camera import PlainCamera, register_plain
from serving.state.embedded import EmbeddedServer

RECOVERED_S = 3.0
"""What is promised: how soon after Redis is back every camera is answered."""
REFUSED = "urn:penance:problem:state"

Outage = Callable[[], AbstractContextManager[None]]


class How(StrEnum):
    """What becomes of Redis: it dies, or it holds its connections and says nothing."""

    KILL = "kill"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Reply:
    """One request as its camera saw it; times by `time.monotonic`. `status` 0: the connection broke."""

    asked: float
    told: float
    status: int
    problem: str
    replayed: bool


@dataclass
class TimedCamera(PlainCamera):
    """A camera that notes every reply."""

    replies: list[Reply] = field(default_factory=list)

    def put(
        self, seq: int | str, body: Any, *, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        asked = time.monotonic()
        try:
            answer = super().put(seq, body, headers=headers, **query)
        except httpx.TransportError:
            self.replies.append(Reply(asked, time.monotonic(), 0, "", False))
            raise
        told = answer.headers.get("content-type", "")
        found = answer.json() if "json" in told else {}  # a proxy whose replica is gone tells in plain text
        problem, replayed = found.get("type", ""), bool(found.get("replayed"))
        self.replies.append(Reply(asked, time.monotonic(), answer.status_code, problem, replayed))
        return answer


@dataclass(frozen=True, slots=True)
class OutageReport:
    """What was seen. `recovered_s` is from when Redis was back to when the last camera was answered."""

    away_s: float
    committed: int
    committed_while_away: int
    told_while_away: dict[str, int]
    refusals_s: tuple[float, ...]
    recovered_s: float
    differences: tuple[str, ...]


def send_through_outage(
    application: RunningApplication, key: str, bundle: Bundle, cameras: int, segments: int, outage: Outage
) -> OutageReport:
    """So many segments of each camera; when a third of them is committed, `outage` is entered and left again.
    Raises `AssertionError` for an answer that no client should ever see."""
    configurations = tuple(bundle.ladder.index(*rung) for rung in CHEAP)
    (body,) = Footage(bundle, FORM, stretches=1).bodies(bundle.ladder[configurations[0]])
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=application.url, timeout=120, limits=limits) as http:
        timed = [
            TimedCamera(http, plain.id, plain.token, plain.bundle, plain.next_seq)
            for plain in (register_plain(http, key, FORM) for _ in range(cameras))
        ]
        journals = [
            Journal(camera, configurations, segments, body, random.Random(number))
            for number, camera in enumerate(timed)
        ]
        times: list[float] = []
        breaker = threading.Thread(target=_break, args=(journals, cameras * segments // 3, outage, times))
        breaker.start()
        with ThreadPoolExecutor(cameras) as pool:
            list(pool.map(Journal.run, journals))
        breaker.join()
        differences = [line for journal in journals for line in journal.differences(bundle)]
        differences += usage_differences(http, key, journals, bundle)
    return _report(timed, sum(len(journal.committed) for journal in journals), times, differences)


def _break(journals: Sequence[Journal], committed: int, outage: Outage, times: list[float]) -> None:
    while sum(len(journal.committed) for journal in journals) < committed:
        time.sleep(0.02)
    with outage():
        times.append(time.monotonic())
    times.append(time.monotonic())


def _report(
    cameras: Sequence[TimedCamera], committed: int, times: Sequence[float], differences: Sequence[str]
) -> OutageReport:
    went, back = times
    replies = [reply for camera in cameras for reply in camera.replies]
    # asked and told while it was away: what was on its way at either end may have been committed there
    inside = [reply for reply in replies if went <= reply.asked and reply.told <= back]
    refused = [reply for reply in inside if reply.status == 503 and reply.problem == REFUSED]
    again = [
        min((r.told for r in camera.replies if r.told > back and r.status == 200), default=float("inf"))
        for camera in cameras
    ]
    return OutageReport(
        away_s=back - went,
        committed=committed,
        committed_while_away=sum(reply.status == 200 and not reply.replayed for reply in inside),
        told_while_away=dict(Counter(reply.problem or f"status {reply.status}" for reply in inside)),
        refusals_s=tuple(reply.told - reply.asked for reply in refused),
        recovered_s=max(again) - back,
        differences=tuple(differences),
    )


@contextmanager
def killed(server: EmbeddedServer, seconds: float) -> Iterator[None]:
    """`kill -9`, and after so long a start from its append-only file."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    yield
    time.sleep(seconds)
    server.ensure_running()


@contextmanager
def frozen(server: EmbeddedServer, seconds: float) -> Iterator[None]:
    """Connections stay open and nothing answers."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


def redis_away(
    seconds: Annotated[float, typer.Option(min=1, help="that Redis is away")] = 10.0,
    how: Annotated[How, typer.Option(help="what becomes of it")] = How.KILL,
    cameras: Annotated[int, typer.Option(min=1, help="that send at once")] = 8,
    segments: Annotated[int, typer.Option(min=30, help="of each camera")] = 120,
) -> None:
    """Take Redis away while cameras send; count refusals and the time until all are answered again."""
    console, bundle = Console(), Bundle.load(Settings().bundle)
    folder = Path(tempfile.mkdtemp(prefix="pn-away-"))
    server = EmbeddedServer(folder / "own")  # not the application's, which starts its own again at once
    server.ensure_running()
    taken = killed if how is How.KILL else frozen
    try:
        with (
            RunningApplication(
                folder / "app", bundle.directory, environment={**image_flags(), "REDIS_URL": server.url}
            ) as application,
            console.status(f"{cameras} cameras send {segments} segments each ..."),
        ):
            report = send_through_outage(
                application, application.key, bundle, cameras, segments, lambda: taken(server, seconds)
            )
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _print(console, report)
    if report.differences or report.committed_while_away or report.recovered_s > RECOVERED_S:
        raise typer.Exit(1)


def _print(console: Console, report: OutageReport) -> None:
    console.print(f"away for {report.away_s:.1f} s; {report.committed} segments committed in all")
    for told, count in sorted(report.told_while_away.items()):
        console.print(f"while it was away: {count} x {told}")
    if report.refusals_s:
        median, high = np.percentile(report.refusals_s, [50, 95]) * 1e3
        console.print(f"refusals took {median:.0f} ms (median), {high:.0f} ms (95th percentile)")
    console.print(f"committed while it was away: {report.committed_while_away}")
    console.print(f"every camera was answered {report.recovered_s:.2f} s after it was back")
    for line in report.differences:
        console.print(line, style="red")
    if not report.differences:
        console.print("counters, averages and usage equal the sequential reference exactly")


if __name__ == "__main__":
    typer.run(redis_away)
