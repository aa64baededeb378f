"""An ingress replica's lanes in simulated time: decisions are the application's own (`serving/ingress`), only
what awaits them is SimPy's instead of asyncio's. It does what `serving/ingress/dispatch.py` does, step by
step; a test holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from simpy import Environment, Event

from serving.ingress.admission import (
    AdmissionOptions,
    BrownOut,
    ServiceTimes,
    backlog_s,
    decide,
    may_start,
)
from serving.ingress.fairness import FairQueue, Work

ADMITTED = ""
DEADLINE, OVERLOAD, OVERTAKEN = "deadline", "overload", "overtaken"
"""Why a segment is refused, as its camera is told."""


@dataclass(slots=True)
class Turn:
    """What a segment waits for; its value is why it is refused, or `ADMITTED`."""

    work: Work
    event: Event


class Lanes:
    """The lanes of one ingress replica."""

    def __init__(self, env: Environment, options: AdmissionOptions) -> None:
        self._env, self._options = env, options
        self._queue = FairQueue()
        self._turns: dict[Work, Event] = {}
        self._running: set[Work] = set()
        self.times = ServiceTimes()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def crowd(self) -> int:
        """How many segments would be at work if one more began now, it among them."""
        return min(self._options.lanes + self._options.express, self.running + 1)

    def brown_out(self) -> BrownOut:
        """What is to be left out just now."""
        return self._options.brown_out_s.level(backlog_s(self._queue, self._options.lanes))

    def enter(self, work: Work) -> Turn:
        """Asks for a lane. The turn's event comes once it is there or refused; who has one must `leave`."""
        turn = Turn(work, self._env.event())
        admission = decide(work, self._env.now, self._running, self._queue, self._options)
        if not admission.admitted:
            late = admission.expected_s > work.expires - self._env.now
            turn.event.succeed(DEADLINE if late else OVERLOAD)
            return turn
        self._turns[work] = turn.event
        older = self._queue.put(work)
        if older is not None:
            self._refuse(older, OVERTAKEN)
        if len(self._queue) > self._options.waiting:
            surplus = self._queue.newest_of_heaviest()
            assert surplus is not None
            self._queue.remove(surplus)
            self._refuse(surplus, OVERLOAD)
        self._start()
        if work in self._turns:  # it waits, until its deadline at most
            expiry = self._env.timeout(max(0.0, work.expires - self._env.now), work)
            assert expiry.callbacks is not None
            expiry.callbacks.append(self._expire)
        return turn

    def leave(self, work: Work) -> None:
        """The segment is done, or given up."""
        self._running.discard(work)
        self._start()

    def _expire(self, event: Event) -> None:
        work = event.value
        if work in self._turns:
            self._queue.remove(work)
            self._refuse(work, DEADLINE)

    def _start(self) -> None:
        """Gives free lanes to those whose turn it is; who would be late by now is told so instead."""
        while (work := self._queue.next()) is not None and may_start(work, self._running, self._options):
            self._queue.take()
            if self._env.now + work.service_s > work.expires:
                self._refuse(work, DEADLINE)
                continue
            self._running.add(work)
            self._turns.pop(work).succeed(ADMITTED)

    def _refuse(self, work: Work, reason: str) -> None:
        turn = self._turns.pop(work, None)
        if turn is not None:
            turn.succeed(reason)
