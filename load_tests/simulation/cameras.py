"""Cameras in simulated time: at their own clock with spread phases, or each as soon as it was answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from simpy import Event

from load_tests.simulation.mix import Track
from load_tests.simulation.platform import ANSWERED, Arrival, Platform

MEGABYTE = 1e6

Steps = Generator[Event, Any, Any]


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One segment of a run whose every segment is known beforehand: when it is sent, by which camera."""

    at: float
    camera: str
    configuration: int
    size: int


def replay(
    platform: Platform, segments: Sequence[Scheduled], deadline_s: float, tenant: str = "load"
) -> Steps:
    """A process: sends what a real load generator sent, when it did. `segments` are in the order of time."""
    env = platform.env
    for segment in segments:
        yield env.timeout(max(0.0, segment.at - env.now))
        arrival = Arrival(tenant, segment.camera, segment.configuration, segment.size, deadline_s)
        env.process(platform.send(arrival))


def closed_loop(platform: Platform, arrivals: Callable[[], Arrival]) -> Steps:
    """A process: one camera that sends the next segment as soon as the one before is settled."""
    while True:
        yield platform.env.process(platform.send(arrivals()))


@dataclass
class Uplinks:
    """How many segments there were, and how many of them were not uploaded whole in time, and so dropped."""

    sent: int = 0
    dropped: int = 0


@dataclass(frozen=True)
class Fleet:
    """Cameras that play tracks. `active` gives the share of them that is on at a time of the simulation."""

    platform: Platform
    tracks: Sequence[Track]
    cameras: int
    tenants: int
    seconds: float
    deadline_s: float
    rng: random.Random
    uplinks: Uplinks
    active: Callable[[float], float] = lambda now: 1.0

    def start(self) -> None:
        """All cameras, each at a phase and a place on a track of its own."""
        for number in range(self.cameras):
            track = self.rng.choice(self.tracks)
            self.platform.env.process(self._camera(number, track))

    def _camera(self, number: int, track: Track) -> Steps:
        env, place = self.platform.env, self.rng.randrange(len(track.sizes))
        tenant, name = f"tenant-{number % self.tenants}", f"camera-{number}"
        rank = (number + 0.5) / self.cameras  # on as long as the active share is above it
        yield env.timeout(self.rng.random() * self.seconds)
        while True:
            if rank < self.active(env.now):
                self._send(tenant, name, track, place % len(track.sizes))
            place += 1
            yield env.timeout(self.seconds)

    def _send(self, tenant: str, name: str, track: Track, place: int) -> None:
        """Uploads it beside the camera's next; what takes longer than a segment's length is dropped."""
        upload = track.sizes[place] / (track.bandwidth * MEGABYTE)
        self.uplinks.sent += 1
        if upload > self.seconds:
            self.uplinks.dropped += 1
            return
        arrival = Arrival(tenant, name, track.configurations[place], track.sizes[place], self.deadline_s)
        self.platform.env.process(self._uploaded(arrival, upload))

    def _uploaded(self, arrival: Arrival, upload: float) -> Steps:
        yield self.platform.env.timeout(upload)
        yield from self.platform.send(arrival)


def answered(platform: Platform, start: float, end: float) -> list[float]:
    """Seconds that answers took, of what was sent from `start` to `end`."""
    return [
        told.ended - told.sent for told in platform.told if start <= told.sent < end and told.why == ANSWERED
    ]
