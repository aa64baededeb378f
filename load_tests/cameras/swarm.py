"""Simulated cameras as users of Locust, which brings the web page, the report and the event loop (gevent)."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

import gevent
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser

from clients.camera import Camera
from clients.errors import CameraError, RefusedByServer, problem_slug
from clients.segment import SegmentResult
from load_tests.cameras.camera import SimulatedCamera
from load_tests.cameras.library import Library
from load_tests.cameras.scenario import Group, Scenario
from load_tests.cameras.tally import STAGES, Tally

SETTLE_S = 1.0
"""Between the last camera's registration and the first segment."""
logger = logging.getLogger(__name__)


@dataclass
class Play:
    """One performance of a scenario. `started` (monotonic) is set once all cameras are registered."""

    scenario: Scenario
    library: Library
    server: str
    keys: Mapping[str, str]
    """Each tenant's."""
    run: str
    """Part of the cameras' names, so that no two performances share cameras."""
    random: random.Random
    tally: Tally
    registered: int = 0
    started: float | None = None
    cameras: list[Camera] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(group.cameras for group in self.scenario.groups)

    def ready(self) -> None:
        """A camera is registered; the last one starts the scenario."""
        self.registered += 1
        if self.registered == self.size:
            self.started = time.monotonic() + SETTLE_S

    @property
    def second(self) -> float:
        """Seconds since the scenario began; below 0 before."""
        return -1.0 if self.started is None else time.monotonic() - self.started


def users(play: Play) -> list[type[User]]:
    """One class of users a group: Locust starts as many of each as the group has cameras."""
    return [_user(play, group, index) for index, group in enumerate(play.scenario.groups)]


def _user(play: Play, group: Group, index: int) -> type[User]:
    numbers: Iterator[int] = count()

    class CameraUser(User):
        """A camera from its registration to the scenario's end."""

        fixed_count = group.cameras
        host = play.server

        def __init__(self, environment: Environment) -> None:
            super().__init__(environment)
            self.number = next(numbers)
            self.phase = play.random.random() * play.scenario.segment.seconds
            self.camera = SimulatedCamera(
                play.library,
                key=play.keys[group.tenant],
                server=play.server,
                name=f"{play.run}-{index}-{self.number}",
                policy=group.policy,
                target_miou=group.target_miou,
                link=group.links.draw(play.random.random(), play.random.random()),
                deadline=play.scenario.deadline_s,
            )
            play.cameras.append(self.camera)

        def on_start(self) -> None:
            play.tally.joined(group.tenant)
            try:
                self.camera.open()
            except CameraError as error:
                self._gave_up(error)
                raise StopUser from error
            finally:
                play.ready()

        def on_stop(self) -> None:
            self.camera.close()

        @task
        def send(self) -> None:
            while play.started is None:
                gevent.sleep(0.05)
            start = play.started
            until = start + play.scenario.seconds
            sending = self.camera.play(
                start + self.phase, until, lambda due: group.sends(self.number, due - start)
            )
            try:
                for result in sending:
                    self._tell(result)
            except CameraError as error:
                self._gave_up(error)
            raise StopUser

        def _gave_up(self, error: CameraError) -> None:
            play.tally.failed(group.tenant, _problem(error))
            logger.error("%s gave up: %s", self.camera.name, error)
            self._event(group.tenant, 0.0, 0, error)

        def _tell(self, result: SegmentResult) -> None:
            if play.second < play.scenario.warm_up_s:
                return
            play.tally.take(group.tenant, result)
            if result.answer is None:
                dropped = f"{result.dropped}: {result.detail}" if result.detail else str(result.dropped)
                self._event(group.tenant, 0.0, 0, CameraError(dropped))
                return
            self._event(group.tenant, result.latency_ms or 0.0, result.bytes or 0, None)
            for stage in STAGES:
                self._event(f"{group.tenant}: {stage}", getattr(result.answer.timings_ms, stage), 0, None)

        def _event(self, name: str, milliseconds: float, size: int, error: Exception | None) -> None:
            self.environment.events.request.fire(
                request_type="stage" if ": " in name else "segment",
                name=name,
                response_time=milliseconds,
                response_length=size,
                exception=error,
                context={},
            )

    CameraUser.__name__ = f"{group.tenant}{index}"
    return CameraUser


def _problem(error: CameraError) -> str:
    return problem_slug(error.problem) if isinstance(error, RefusedByServer) else type(error).__name__
