"""Ten thousand segments, sent twice, out of order, dropped, abandoned, and through kills of the database:
counters, averages and usage equal those of a sequential reference over the commits."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from clients.protocol import Registration
from configs.rates import load_rates
from configs.settings import Settings
from serving.admin.usage import usage_report
from serving.problems import StateUnavailable
from serving.state.averages import Averages
from serving.state.embedded import EmbeddedServer
from serving.state.store import Commit, StateStore
from tests.serving.test_state import segment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Reply = TypeVar("Reply")
CAMERAS, SEGMENTS_EACH, KILLS = 20, 500, 3
TENANT, TARGET, REDELIVERED, ABANDONED, SWAPPED, DROPPED = "acme", 0.65, 0.2, 0.05, 0.2, 0.1


@dataclass
class Journal:
    """One camera's commits in the order in which the database took them."""

    store: StateStore
    camera: str
    random: random.Random
    committed: list[Commit] = field(default_factory=list)

    async def run(self) -> None:
        order = list(range(SEGMENTS_EACH))
        for i in range(0, SEGMENTS_EACH - 1, 2):
            if self.random.random() < SWAPPED:
                order[i], order[i + 1] = order[i + 1], order[i]
        dropped: list[tuple[int, float]] = []
        for seq in order:
            if self.random.random() < DROPPED and seq > max((c.seq for c in self.committed), default=-1):
                dropped.append((seq, self.random.random()))
                continue
            reported = sorted(drop for drop in dropped if drop[0] < seq)
            commit = segment(
                seq,
                cost=self.random.random(),
                deficit=self.random.uniform(-0.3, 0.6),
                overuse=self.random.uniform(-0.5, 0.5),
                size=self.random.randrange(10**5),
                flops=self.random.randrange(10**12),
                dropped=reported,
            )
            if self.random.random() < ABANDONED:  # an ingress that claimed it is killed
                await self._settled(lambda: self.store.begin(self.camera, seq))  # noqa: B023
                await asyncio.sleep(0.06)
            if await self._deliver(commit):
                self.committed.append(commit)
                dropped = [drop for drop in dropped if drop[0] > seq]

    async def _deliver(self, commit: Commit) -> bool:
        """Whether it was committed; its answer may be lost, then it is sent again and again."""
        claim = await self._settled(lambda: self.store.begin(self.camera, commit.seq))
        while claim.verdict == "wait":
            await asyncio.sleep(0.02)
            claim = await self._settled(lambda: self.store.begin(self.camera, commit.seq))
        if claim.verdict != "go":
            assert claim.verdict in ("stale", "dropped"), claim
            return False
        verdicts = [(await self._settled(lambda: self.store.commit(self.camera, commit))).verdict]
        if self.random.random() < REDELIVERED:
            verdicts.append((await self._settled(lambda: self.store.commit(self.camera, commit))).verdict)
        assert verdicts[0] in ("committed", "replay")  # a replay where the first answer was lost in a kill
        assert verdicts[1:] in ([], ["replay"])
        return True

    async def _settled(self, act: Callable[[], Awaitable[Reply]]) -> Reply:
        while True:
            try:
                return await act()
            except StateUnavailable:
                await asyncio.sleep(0.05)


def test_ten_thousand_segments_equal_the_sequential_reference(short_directory: Path) -> None:
    server = EmbeddedServer(short_directory / "reference")
    server.ensure_running()

    async def kill(running: asyncio.Event) -> None:
        for _ in range(KILLS):
            await asyncio.sleep(2)
            if running.is_set():
                return
            pid = server.pid()
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(server.ensure_running)

    async def run() -> None:
        store, ended = StateStore(server.url, answers_kept=32, lease_s=0.05), asyncio.Event()
        journals = []
        for number in range(CAMERAS):
            camera = await store.register(TENANT, f"camera{number}", Registration(name=f"{number}"), 100)
            journals.append(Journal(store, camera, random.Random(number)))
        killer = asyncio.create_task(kill(ended))
        await asyncio.gather(*(journal.run() for journal in journals))
        ended.set()
        await killer
        for journal in journals:
            await assert_equal(store, journal)
        usage = await usage_report(store.usage, load_rates(Settings().rates_file), TENANT, None)
        all_commits = [commit for journal in journals for commit in journal.committed]
        assert usage.segments == len(all_commits)
        assert usage.flops == sum(commit.flops for commit in all_commits)
        assert usage.bytes == sum(commit.size for commit in all_commits)
        await store.close()

    try:
        asyncio.run(run())
    finally:
        server.stop()


async def assert_equal(store: StateStore, journal: Journal) -> None:
    averages, total, counted = Averages(), 0.0, set[int]()
    for commit in journal.committed:
        for seq, cost in commit.dropped:
            if seq not in counted:
                averages, total = averages.after_drop(TARGET, cost), total + cost
                counted.add(seq)
        averages = averages.after_segment(TARGET, commit.cost, commit.overuse, commit.deficit)
        total += commit.cost
        counted.add(commit.seq)
    status = await store.status(journal.camera)
    assert status is not None
    assert status.segments == len(journal.committed)
    assert status.dropped == len(counted) - len(journal.committed)
    assert status.bytes == sum(commit.size for commit in journal.committed)
    assert (status.cost_total, status.cost_average) == (total, averages.cost)
    assert (status.deficit_average, status.overuse_average) == (averages.deficit, averages.overuse)
