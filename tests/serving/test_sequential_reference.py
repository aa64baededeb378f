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
from serving.state.store import Claim, Commit, StateStore
from tests.serving.test_state import segment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Reply = TypeVar("Reply")
CAMERAS, SEGMENTS_EACH, KILLS = 20, 500, 4
PART = CAMERAS * SEGMENTS_EACH // (2 * KILLS)
"""Commits between two kills; about half of them are left when the last one comes."""
TENANT, TARGET = "acme", 0.65
TWICE_AT_ONCE, LONG_AFTER, ABANDONED, SWAPPED, DROPPED = 0.1, 0.05, 0.05, 0.2, 0.1


@dataclass
class Journal:
    """What one camera sent: commits in the order in which the database took them, and all seqs that did not
    count because they came too late."""

    store: StateStore
    camera: str
    random: random.Random
    committed: list[Commit] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    overtaken: int = 0  # commits below one that was committed before: both were at work at once
    unreported: int = 0  # drops at the very end, after which no segment came

    async def run(self) -> None:
        order = list(range(SEGMENTS_EACH))
        early = set[int]()  # claimed in their turn, and overtaken while they are at work
        for i in range(0, SEGMENTS_EACH - 1, 2):
            if self.random.random() < SWAPPED:
                order[i], order[i + 1] = order[i + 1], order[i]
                if self.random.random() < 0.5:
                    early.add(i)
        dropped: list[tuple[int, float]] = []
        for seq in order:
            if self.random.random() < DROPPED and seq > max((c.seq for c in self.committed), default=-1):
                dropped.append((seq, self.random.random()))
                continue
            reported = sorted(drop for drop in dropped if drop[0] < seq)
            if seq - 1 in early:
                await self._claim(seq - 1)
            if self.random.random() < ABANDONED:  # an ingress that claimed it is killed
                await self._claim(seq)
                await asyncio.sleep(0.06)
            commit = self._outcome(seq, reported)
            if await self._deliver(commit):
                self.overtaken += any(seq < other.seq for other in self.committed[-2:])
                self.committed.append(commit)
                dropped = [drop for drop in dropped if drop[0] > seq]
            else:
                self.stale.append(seq)
            if self.committed and self.random.random() < LONG_AFTER:
                await self._repeat(self.random.choice(self.committed))
        self.unreported = len(dropped)

    def _outcome(self, seq: int, reported: list[tuple[int, float]]) -> Commit:
        return segment(
            seq,
            cost=self.random.random(),
            deficit=self.random.uniform(-0.3, 0.6),
            overuse=self.random.uniform(-0.5, 0.5),
            size=self.random.randrange(10**5),
            flops=self.random.randrange(10**12),
            dropped=reported,
        )

    async def _deliver(self, commit: Commit) -> bool:
        """Whether it was committed; its answer may be lost, then it is sent again and again."""
        while (claim := await self._claim(commit.seq)).verdict == "wait":
            await asyncio.sleep(0.02)
        if claim.verdict != "go":
            assert claim.verdict in ("stale", "dropped"), claim
            return False
        times = 2 if self.random.random() < TWICE_AT_ONCE else 1
        verdicts = await asyncio.gather(*(self._commit(commit) for _ in range(times)))
        assert set(verdicts) <= {"committed", "replay"}  # a replay where the first answer was lost in a kill
        assert verdicts.count("committed") <= 1
        return True

    async def _repeat(self, earlier: Commit) -> None:
        """A copy that was long on its way: with other numbers, so that it would show if it counted."""
        assert (await self._claim(earlier.seq)).verdict in ("replay", "stale")
        assert await self._commit(segment(earlier.seq, cost=9.0, size=10**9)) in ("replay", "stale")

    async def _claim(self, seq: int) -> Claim:
        return await self._settled(lambda: self.store.begin(self.camera, seq))

    async def _commit(self, commit: Commit) -> str:
        return (await self._settled(lambda: self.store.commit(self.camera, commit))).verdict

    async def _settled(self, act: Callable[[], Awaitable[Reply]]) -> Reply:
        while True:
            try:
                return await act()
            except StateUnavailable:
                await asyncio.sleep(0.05)


def test_ten_thousand_segments_equal_the_sequential_reference(short_directory: Path) -> None:
    server = EmbeddedServer(short_directory / "reference")
    server.ensure_running()

    async def kill(journals: list[Journal]) -> None:
        """Kills the database whenever another part of the segments is through."""
        for killed in range(KILLS):
            while sum(len(journal.committed) for journal in journals) < (killed + 1) * PART:
                await asyncio.sleep(0.01)
            pid = server.pid()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(server.ensure_running)

    async def run() -> None:
        store = StateStore(server.url, answers_kept=32, lease_s=0.05)
        journals = []
        for number in range(CAMERAS):
            camera = await store.register(TENANT, f"camera{number}", Registration(name=f"{number}"), 100)
            journals.append(Journal(store, camera, random.Random(number)))
        await asyncio.gather(kill(journals), *(journal.run() for journal in journals))
        settled = 0
        for journal in journals:
            await assert_equal(store, journal)
            status = await store.status(journal.camera)
            assert status is not None
            settled += status.segments + status.dropped + len(journal.stale) + journal.unreported
        assert settled == CAMERAS * SEGMENTS_EACH
        assert sum(journal.overtaken for journal in journals) > 100
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
