"""Lanes: bounded work, turns, and what becomes of those who give up or are overtaken."""

from __future__ import annotations

import asyncio
import time

import pytest

from serving.ingress.admission import CAUTION, AdmissionOptions, BrownOut
from serving.ingress.dispatch import Dispatcher
from serving.ingress.fairness import Work
from serving.problems import DeadlinePassed, Overloaded, Overtaken

OPTIONS = AdmissionOptions(lanes=2, waiting=4, waiting_per_tenant=4)


def work(camera: str, tenant: str = "acme", within_s: float = 60.0, service_s: float = 0.0) -> Work:
    return Work(tenant, camera, 1.0, 1.0, service_s, time.perf_counter() + within_s)


class Lanes:
    """Runs work in lanes of a dispatcher until it is told to end, and notes what ran."""

    def __init__(self) -> None:
        self.dispatcher = Dispatcher(OPTIONS)
        self.ran: list[str] = []
        self.end = asyncio.Event()

    async def hold(self, item: Work) -> None:
        async with self.dispatcher.lane(item):
            self.ran.append(item.camera)
            await self.end.wait()

    async def start(self, *items: Work) -> list[asyncio.Task[None]]:
        tasks = []
        for item in items:
            tasks.append(asyncio.create_task(self.hold(item)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return tasks


async def test_no_more_are_at_work_than_there_are_lanes() -> None:
    lanes = Lanes()
    tasks = await lanes.start(*(work(f"camera{i}") for i in range(5)))
    assert lanes.ran == ["camera0", "camera1"]
    lanes.end.set()
    await asyncio.gather(*tasks)
    assert len(lanes.ran) == 5


async def test_who_hangs_up_while_waiting_costs_nothing() -> None:
    lanes = Lanes()
    tasks = await lanes.start(*(work(f"camera{i}") for i in range(4)))
    tasks[2].cancel()
    lanes.end.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert lanes.ran == ["camera0", "camera1", "camera3"]


async def test_who_hangs_up_in_the_moment_of_its_turn_leaves_the_lane_free() -> None:
    lanes = Lanes()
    tasks = await lanes.start(*(work(f"camera{i}") for i in range(3)))
    tasks[0].cancel()  # frees a lane for the third, which is cancelled before it can take it up
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.sleep(0.01)
    (last,) = await lanes.start(work("last"))
    assert "last" in lanes.ran
    lanes.end.set()
    await last


async def test_of_two_waiting_segments_of_a_camera_the_older_is_dropped() -> None:
    lanes = Lanes()
    _, _, older, newer = await lanes.start(work("a"), work("b"), work("gate"), work("gate"))
    with pytest.raises(Overtaken):
        await older
    lanes.end.set()
    await newer


async def test_a_segment_at_work_is_not_overtaken() -> None:
    lanes = Lanes()
    first, second = await lanes.start(work("gate"), work("gate"))
    lanes.end.set()
    await asyncio.gather(first, second)
    assert lanes.ran == ["gate", "gate"]


async def test_what_cannot_be_answered_in_time_is_refused_at_once() -> None:
    lanes = Lanes()
    await lanes.start(work("a", service_s=5), work("b", service_s=5))
    started = time.perf_counter()
    with pytest.raises(DeadlinePassed) as refusal:
        await lanes.hold(work("late", within_s=3, service_s=1))
    assert time.perf_counter() - started < 0.05
    assert refusal.value.retry_after_s == pytest.approx(1 + CAUTION * 2.5 - 3, abs=0.01)


async def test_whose_turn_does_not_come_in_time_is_told_when_the_deadline_passes() -> None:
    lanes = Lanes()
    await lanes.start(work("a"), work("b"))
    with pytest.raises(DeadlinePassed):
        await lanes.hold(work("late", within_s=0.02))
    assert len(lanes.dispatcher._queue) == 0


async def test_in_a_full_queue_the_heaviest_tenant_loses_its_newest() -> None:
    lanes = Lanes()
    flood = await lanes.start(*(work(f"flood{i}", "flood") for i in range(6)))
    (quiet,) = await lanes.start(work("quiet", "quiet"))
    with pytest.raises(Overloaded):
        await flood[-1]
    lanes.end.set()
    await asyncio.gather(quiet, *flood[:-1])


async def test_pressure_and_idleness_are_told() -> None:
    lanes = Lanes()
    assert lanes.dispatcher.idle
    assert lanes.dispatcher.brown_out() == BrownOut.NOTHING
    tasks = await lanes.start(*(work(f"camera{i}", service_s=2.0) for i in range(2)))
    assert not lanes.dispatcher.idle
    assert lanes.dispatcher.brown_out() == BrownOut.NOTHING  # slow as they are, nobody waits for them
    tasks += await lanes.start(work("camera2", service_s=2.0))
    assert lanes.dispatcher.brown_out() == BrownOut.LABEL_MAPS
    lanes.end.set()
    await asyncio.gather(*tasks)
