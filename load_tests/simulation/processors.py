"""Processors shared by whatever runs on them, as a fluid: everything at work gets its fair part, and nothing
more than its threads can use. Cores of a node and a GPU that is sliced between replicas are both this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simpy import Environment, Event

LEAST = 1e-9
"""Work below which a task is done: what rounding leaves over."""


@dataclass(slots=True, eq=False)
class Task:
    """Something at work: seconds of one processor that are left, and how many it can use at once."""

    left: float
    threads: float
    weight: float
    done: Event
    speed: float = 0.0


class Processors:
    """`capacity` processors in all; a task that has them to itself runs at the lesser of `capacity` and its
    threads."""

    def __init__(self, env: Environment, capacity: float) -> None:
        if capacity <= 0:
            raise ValueError(f"processors need a capacity above 0, got {capacity}")
        self._env, self.capacity = env, capacity
        self._tasks: list[Task] = []
        self._since, self._round = env.now, 0
        self.busy = 0.0  # processor-seconds that were used

    def run(self, work: float, threads: float = 1.0, weight: float = 1.0) -> Event:
        """An event for when `work` processor-seconds are done."""
        done = self._env.event()
        if work <= LEAST:
            done.succeed()
            return done
        self._advance()
        self._tasks.append(Task(work, threads, weight * threads, done))
        self._share()
        return done

    def cancel(self) -> None:
        """The machine is gone: nothing on it is ever done."""
        self._advance()
        self._tasks.clear()
        self._round += 1

    def _advance(self) -> None:
        """Takes off what was done since speeds were last set."""
        passed, self._since = self._env.now - self._since, self._env.now
        if passed <= 0:
            return
        for task in self._tasks:
            task.left -= passed * task.speed
            self.busy += passed * task.speed

    def _share(self) -> None:
        """Sets speeds anew and waits for the first to be done."""
        set_speeds(self._tasks, self.capacity)
        self._round += 1
        if not self._tasks:
            return
        first = min(max(0.0, task.left) / task.speed for task in self._tasks)
        wake = self._env.timeout(first, self._round)
        assert wake.callbacks is not None
        wake.callbacks.append(self._wake)

    def _wake(self, event: Event) -> None:
        if event.value != self._round:  # something came or went meanwhile
            return
        self._advance()
        ended = [task for task in self._tasks if task.left <= LEAST]
        self._tasks = [task for task in self._tasks if task.left > LEAST]
        self._share()
        for task in ended:
            task.done.succeed()


def set_speeds(tasks: Iterable[Task], capacity: float) -> None:
    """Fair parts by weight (water-filling): what one cannot use the others get."""
    open_tasks, left = list(tasks), capacity
    while open_tasks:
        part = left / sum(task.weight for task in open_tasks)
        full = [task for task in open_tasks if task.threads <= part * task.weight + LEAST]
        if not full:
            for task in open_tasks:
                task.speed = part * task.weight
            return
        for task in full:
            task.speed = task.threads
            left -= task.threads
        open_tasks = [task for task in open_tasks if task not in full]
