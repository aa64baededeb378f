"""Lanes: how many segments of an ingress replica are at work at once, and which is next.

This is the one place where segments wait. Behind it, deployments get no more than they can work on, so order
and refusals are decided here (`fairness.py`, `admission.py`), and a segment that nobody waits for any more
leaves without having cost anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from serving.ingress.admission import AdmissionOptions, BrownOut, backlog_s, decide, may_start
from serving.ingress.fairness import FairQueue, Work
from serving.problems import DeadlinePassed, Overloaded, Overtaken, RequestProblem
from serving.state.live import ReplicaLoad


class Dispatcher:
    """The lanes of one ingress replica; all its methods belong to one event loop."""

    def __init__(self, options: AdmissionOptions, clock: Callable[[], float] = time.perf_counter) -> None:
        self._options, self._clock = options, clock
        self._queue = FairQueue()
        self._turns: dict[Work, asyncio.Future[None]] = {}
        self._running: set[Work] = set()

    def brown_out(self) -> BrownOut:
        """What is to be left out just now."""
        return self._options.brown_out_s.level(backlog_s(self._queue, self._options.lanes))

    @property
    def load(self) -> ReplicaLoad:
        """How it stands."""
        backlog = backlog_s(self._queue, self._options.lanes)
        return ReplicaLoad(
            lanes=self._options.lanes,
            running=self.running,
            waiting=len(self._queue),
            backlog_s=backlog,
            level=self._options.brown_out_s.level(backlog),
        )

    @property
    def running(self) -> int:
        """How many segments are at work."""
        return len(self._running)

    @property
    def crowd(self) -> int:
        """How many segments would be at work if one more began now, it among them."""
        return min(self._options.lanes + self._options.express, self.running + 1)

    @property
    def idle(self) -> bool:
        """Whether there is a lane that no segment needs: then background work may run."""
        return not len(self._queue) and len(self._running) < max(1, self._options.lanes - 1)

    @asynccontextmanager
    async def lane(self, work: Work) -> AsyncIterator[None]:
        """Waits for the segment's turn and holds its lane. Raises `DeadlinePassed` or `Overloaded` at once
        where it cannot be answered, and `Overtaken` where a newer one of its camera takes its place."""
        admission = decide(work, self._clock(), self._running, self._queue, self._options)
        if not admission.admitted:
            late = admission.expected_s > work.expires - self._clock()
            problem = DeadlinePassed if late else Overloaded
            raise problem(
                f"Not accepted: {admission.reason}. Choose a cheaper configuration.", admission.retry_after_s
            )
        await self._turn(work)
        try:
            yield
        finally:
            self._running.discard(work)
            self._start()

    async def _turn(self, work: Work) -> None:
        turn = self._turns[work] = asyncio.get_running_loop().create_future()
        older = self._queue.put(work)
        if older is not None:
            self._refuse(older, Overtaken("A newer segment of this camera came while this one waited."))
        if len(self._queue) > self._options.waiting:
            surplus = self._queue.newest_of_heaviest()
            assert surplus is not None
            self._queue.remove(surplus)
            self._refuse(surplus, Overloaded("Too many segments wait. Send it again later.", 1))
        self._start()
        try:
            async with asyncio.timeout(max(0.0, work.expires - self._clock())):
                await turn
        except BaseException as error:
            self._turns.pop(work, None)
            self._queue.remove(work)
            if work in self._running:  # its turn came in the very moment in which it was given up
                self._running.discard(work)
                self._start()
            if isinstance(error, TimeoutError):
                raise DeadlinePassed("The segment's turn did not come before its deadline.") from error
            raise

    def _start(self) -> None:
        """Gives free lanes to those whose turn it is; who would be late by now is told so instead."""
        while (work := self._queue.next()) is not None and may_start(work, self._running, self._options):
            self._queue.take()
            if self._clock() + work.service_s > work.expires:
                self._refuse(work, DeadlinePassed("The segment's turn came too late to answer it in time."))
                continue
            self._running.add(work)
            turn = self._turns.pop(work)
            if not turn.done():
                turn.set_result(None)

    def _refuse(self, work: Work, problem: RequestProblem) -> None:
        turn = self._turns.pop(work, None)
        if turn is not None and not turn.done():
            turn.set_exception(problem)
