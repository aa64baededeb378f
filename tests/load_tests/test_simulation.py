"""The simulation's pieces against what is known of queues, and against the application's own dispatcher."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy import Environment, Event, Resource

from load_tests.simulation.lanes import ADMITTED, Lanes
from load_tests.simulation.processors import Processors, Task, set_speeds
from serving.ingress.admission import AdmissionOptions
from serving.ingress.dispatch import Dispatcher
from serving.ingress.fairness import Work
from serving.problems import RequestProblem

Steps = Generator[Event, Any, Any]

CUSTOMERS = 30_000


def arrivals(env: Environment, rate: float, serve: Any, rng: random.Random, seen: list[float]) -> Steps:
    """Poisson arrivals; `seen` gets the seconds that each customer was there."""

    def customer() -> Steps:
        came = env.now
        yield from serve()
        seen.append(env.now - came)

    for _ in range(CUSTOMERS):
        yield env.timeout(rng.expovariate(rate))
        env.process(customer())


def mean_sojourn(seen: list[float]) -> float:
    return sum(seen[CUSTOMERS // 10 :]) / len(seen[CUSTOMERS // 10 :])


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_loop_that_does_one_thing_at_a_time_is_a_queue_of_fixed_service_times(load: float) -> None:
    """M/D/1: waiting is load / (2 (1 - load)) service times (Pollaczek and Khinchine)."""
    env, rng, seen = Environment(), random.Random(1), list[float]()
    processors, loop = Processors(env, 1.0), Resource(env)

    def serve() -> Steps:
        with loop.request() as turn:
            yield turn
            yield processors.run(1.0)

    env.process(arrivals(env, load, serve, rng, seen))
    env.run()
    assert mean_sojourn(seen) == pytest.approx(1 + load / (2 * (1 - load)), rel=0.06)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 0.7), (5, 0.8)])
def test_many_replicas_of_one_queue_wait_as_erlang_says(servers: int, load: float) -> None:
    """M/M/c: the probability of waiting is Erlang's C."""
    env, rng, seen = Environment(), random.Random(2), list[float]()
    processors, replicas = Processors(env, float(servers)), Resource(env, servers)

    def serve() -> Steps:
        with replicas.request() as turn:
            yield turn
            yield processors.run(rng.expovariate(1.0))

    env.process(arrivals(env, load * servers, serve, rng, seen))
    env.run()
    offered = load * servers
    tail = offered**servers / math.factorial(servers) / (1 - load)
    waits = tail / (sum(offered**k / math.factorial(k) for k in range(servers)) + tail)
    assert mean_sojourn(seen) == pytest.approx(1 + waits / (servers * (1 - load)), rel=0.08)


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_a_shared_processor_treats_all_sizes_alike(load: float) -> None:
    """M/G/1 with processor sharing: whatever the sizes, the mean is that of M/M/1 (Kleinrock 1967)."""
    env, rng, seen = Environment(), random.Random(3), list[float]()
    processors = Processors(env, 1.0)

    def serve() -> Steps:
        yield processors.run(rng.choice([0.1, 1.9]))

    env.process(arrivals(env, load, serve, rng, seen))
    env.run()
    assert mean_sojourn(seen) == pytest.approx(1 / (1 - load), rel=0.08)


tasks = st.lists(st.tuples(st.floats(0.1, 8), st.floats(0.1, 4)), min_size=1, max_size=12)


@given(tasks=tasks, capacity=st.floats(0.5, 16))
def test_speeds_use_what_there_is_and_nothing_more(tasks: list[tuple[float, float]], capacity: float) -> None:
    env = Environment()
    held = [Task(1.0, threads, weight, env.event()) for threads, weight in tasks]
    set_speeds(held, capacity)
    assert sum(task.speed for task in held) == pytest.approx(
        min(capacity, sum(threads for threads, _ in tasks))
    )
    assert all(0 < task.speed <= task.threads + 1e-6 for task in held)
    open_parts = [task.speed / task.weight for task in held if task.speed < task.threads - 1e-6]
    assert max(open_parts, default=0) == pytest.approx(min(open_parts, default=0))


@given(works=st.lists(st.floats(0.01, 5), min_size=1, max_size=20), capacity=st.floats(0.5, 4))
def test_no_work_is_lost_or_made_up(works: list[float], capacity: float) -> None:
    env = Environment()
    processors, ended = Processors(env, capacity), list[float]()

    def one(work: float, at: float) -> Steps:
        yield env.timeout(at)
        yield processors.run(work)
        ended.append(env.now)

    for number, work in enumerate(works):
        env.process(one(work, number * 0.1))
    env.run()
    assert len(ended) == len(works)
    assert processors.busy == pytest.approx(sum(works), rel=1e-6)
    assert max(ended) >= sum(works) / capacity - 1e-6


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


Segment = tuple[float, int, float, float]
segments = st.lists(
    st.tuples(
        st.integers(1, 1000).map(lambda n: n / 100),  # after the one before
        st.integers(0, 2),  # tenant
        st.sampled_from([0.11, 0.37, 1.3]),  # service
        st.sampled_from([0.5, 2.0, 6.0]),  # deadline
    ),
    min_size=1,
    max_size=25,
)
OPTIONS = AdmissionOptions(lanes=2, express=1, waiting=4, waiting_per_tenant=3)


def works_of(plan: list[Segment]) -> list[tuple[float, Work, float]]:
    """(when, what, how long it really takes); instants apart, so that no order is left to chance."""
    found, at = [], 0.0
    for number, (gap, tenant, service, deadline) in enumerate(plan):
        at += gap / 7 + 0.000137 * number
        work = Work(f"t{tenant}", f"c{number % 5}", 1.0, service * 1e9, service, at + deadline)
        found.append((at, work, service * (1 + 0.01 * (number % 7))))
    return found


def dispatched(plan: list[Segment]) -> list[tuple[float, str]]:
    """What the application's dispatcher makes of the plan: when each began, or why it was refused."""
    loop, found = SimulatedLoop(), dict[int, tuple[float, str]]()

    async def one(dispatcher: Dispatcher, number: int, at: float, work: Work, takes: float) -> None:
        await asyncio.sleep(at - loop.time())
        try:
            async with dispatcher.lane(work):
                found[number] = (loop.time(), ADMITTED)
                await asyncio.sleep(takes)
        except RequestProblem as problem:
            found[number] = (loop.time(), problem.slug)

    async def everything() -> None:
        dispatcher = Dispatcher(OPTIONS, loop.time)
        await asyncio.gather(*(one(dispatcher, n, *each) for n, each in enumerate(works_of(plan))))

    try:
        loop.run_until_complete(everything())
    finally:
        loop.close()
    return [found[number] for number in range(len(plan))]


def simulated(plan: list[Segment]) -> list[tuple[float, str]]:
    env = Environment()
    lanes, found = Lanes(env, OPTIONS), dict[int, tuple[float, str]]()

    def one(number: int, at: float, work: Work, takes: float) -> Steps:
        yield env.timeout(at)
        why = yield lanes.enter(work).event
        found[number] = (env.now, why)
        if why == ADMITTED:
            yield env.timeout(takes)
            lanes.leave(work)

    for number, each in enumerate(works_of(plan)):
        env.process(one(number, *each))
    env.run()
    return [found[number] for number in range(len(plan))]


@settings(max_examples=200)
@given(plan=segments)
def test_lanes_do_in_simulated_time_what_the_dispatcher_does(plan: list[Segment]) -> None:
    for ours, theirs in zip(simulated(plan), dispatched(plan), strict=True):
        assert ours[1] == theirs[1]
        assert ours[0] == pytest.approx(theirs[0], abs=1e-6)
