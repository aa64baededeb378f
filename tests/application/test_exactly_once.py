"""Exactly once, through kills: what Redis holds equals a sequential reference over the commits."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from clients.protocol import SegmentAnswer
from configs.bundle import Bundle
from load_tests.application import RunningApplication
from serving.state.averages import Averages
from tests.application.conftest import SEGMENT, TestCamera

CAMERAS, SEGMENTS_EACH = 20, 50
PATIENCE_S = 240.0
VARIANT = 4
BANDWIDTH, SECONDS, TARGET = 0.3, 0.2, 0.65


@dataclass
class Journal:
    """What one camera was answered: seqs in the order of their commits, and everything it dropped."""

    camera: TestCamera
    configurations: tuple[int, ...]
    random: random.Random
    committed: list[tuple[int, int, tuple[tuple[int, int], ...]]] = field(default_factory=list)
    answers: dict[int, SegmentAnswer] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Sends every seq, some swapped with their neighbours, some reported as dropped, many repeated."""
        order = list(range(SEGMENTS_EACH))
        for i in range(0, SEGMENTS_EACH - 1, 5):
            if self.random.random() < 0.5:
                order[i], order[i + 1] = order[i + 1], order[i]
        dropped: list[tuple[int, int]] = []
        for seq in order:
            configuration = self.random.choice(self.configurations)
            if self.random.random() < 0.1 and seq > max(self.answers, default=-1):
                dropped.append((seq, configuration))
                continue
            reported = tuple(drop for drop in dropped if drop[0] < seq)
            if self._send_until_settled(seq, configuration, reported):
                dropped = [drop for drop in dropped if drop[0] > seq]
            if self.answers and self.random.random() < 0.3:
                self._repeat(self.random.choice(sorted(self.answers)[-8:]))

    def _send_until_settled(
        self, seq: int, configuration: int, reported: tuple[tuple[int, int], ...]
    ) -> bool:
        text = ",".join(f"{drop}:{index}" for drop, index in reported)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            sends = 2 if self.random.random() < 0.2 else 1
            replies = self._send_at_once(sends, seq, configuration, text)
            good = [
                SegmentAnswer.model_validate(r.json())
                for r in replies
                if r is not None and r.status_code == 200
            ]
            if good:
                assert sum(not answer.replayed for answer in good) <= 1
                self.answers[seq] = good[0].model_copy(update={"replayed": False})
                self.committed.append((seq, good[0].configuration, reported))
                return True
            if any(r is not None and r.status_code == 409 for r in replies):
                self.stale.add(seq)
                return False
            refused = [r for r in replies if r is not None]
            assert all(r.status_code in (500, 503) for r in refused), refused[0].text
            time.sleep(0.2 + self.random.random() * 0.3)
        raise AssertionError(f"segment {seq} was not answered within {PATIENCE_S:g} s")

    def _send_at_once(
        self, sends: int, seq: int, configuration: int, text: str
    ) -> list[httpx.Response | None]:
        def send() -> httpx.Response | None:
            try:
                return self.camera.put(
                    seq, SEGMENT, configuration=configuration, bandwidth=BANDWIDTH, dropped=text or None
                )
            except httpx.TransportError:
                return None

        if sends == 1:
            return [send()]
        with ThreadPoolExecutor(sends) as pool:
            return list(pool.map(lambda _: send(), range(sends)))

    def _repeat(self, seq: int) -> None:
        replies = self._send_at_once(1, seq, self.configurations[0], "")
        if replies[0] is not None and replies[0].status_code == 200:
            answer = SegmentAnswer.model_validate(replies[0].json())
            assert answer.replayed
            assert answer.model_copy(update={"replayed": False}) == self.answers[seq]


def test_a_thousand_segments_through_kills_are_counted_exactly_once(
    application: RunningApplication, new_camera: Callable[..., TestCamera], bundle: Path
) -> None:
    loaded = Bundle.load(bundle)
    half = tuple(c.index for c in loaded.ladder.rungs() if (c.scale, c.qp, c.variant) == (0.5, 30, VARIANT))
    cheap = half + tuple(c.index for c in loaded.ladder.rungs() if (c.scale, c.qp, c.variant) == (0.5, 28, 3))
    journals = [Journal(new_camera(), cheap, random.Random(i)) for i in range(CAMERAS)]
    killed: list[str] = []

    def kill() -> None:
        for name in ("ingress", f"variant-{VARIANT}"):
            time.sleep(6)
            kill_replica(application, name)
            killed.append(name)

    killer = threading.Thread(target=kill)
    killer.start()
    with ThreadPoolExecutor(CAMERAS) as pool:
        list(pool.map(Journal.run, journals))
    killer.join()
    assert killed == ["ingress", f"variant-{VARIANT}"]
    for journal in journals:
        assert_equal_to_reference(journal, loaded)
    settled = sum(len(j.committed) + len(j.stale) for j in journals)
    dropped = sum(j.camera.status()["dropped"] for j in journals)
    assert (
        settled + dropped >= CAMERAS * SEGMENTS_EACH - CAMERAS
    )  # a drop after the last segment is not reported


def assert_equal_to_reference(journal: Journal, bundle: Bundle) -> None:
    """Replays the commits in order and compares every counter and average, exactly."""
    averages, total, size, dropped, counted = Averages(), 0.0, 0, 0, set[int]()
    for seq, configuration, reported in journal.committed:
        for drop, index in sorted(reported):  # the server counts them in this order
            if drop not in counted:
                averages = averages.after_drop(TARGET, bundle.costs[index])
                total, dropped = total + bundle.costs[index], dropped + 1
                counted.add(drop)
        overuse = len(SEGMENT) / 1e6 - BANDWIDTH * SECONDS
        predicted = journal.answers[seq].predicted_miou
        assert predicted is not None
        averages = averages.after_segment(TARGET, bundle.costs[configuration], overuse, TARGET - predicted)
        total, size = total + bundle.costs[configuration], size + len(SEGMENT)
        counted.add(seq)
    status = journal.camera.status()
    assert status["segments"] == len(journal.committed) == len(journal.answers)
    assert (status["dropped"], status["bytes"]) == (dropped, size)
    assert status["cost_total"] == total
    assert status["cost_average"] == averages.cost
    assert status["overuse_average"] == averages.overuse
    assert status["deficit_average"] == averages.deficit


def kill_replica(application: RunningApplication, deployment: str) -> None:
    """`kill -9` of one replica of a deployment."""
    for process in psutil.Process(application.pid).children(recursive=True):
        if f"ServeReplica:default:{deployment}" in " ".join(process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)
            return
    raise AssertionError(f"no replica of {deployment} is running")
