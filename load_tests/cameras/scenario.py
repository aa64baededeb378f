"""Scenarios: who sends what, when, over which links. YAML files of `load_tests/scenarios`, for people to
edit."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clients.bandwidth import Trace
from clients.protocol import DEFAULT_TARGET, SegmentFormat

Share = Annotated[float, Field(ge=0, le=1)]
ALWAYS: tuple[tuple[float, Share], ...] = ((0.0, 1.0),)


class ScenarioError(ValueError):
    """The file is no scenario; the message says what is wrong with it."""


class Links(BaseModel):
    """Uplinks of a group's cameras: each draws one bandwidth from the range, in MB/s, and keeps it. With
    `up_s` and `down_s` a link flaps: it works for so long, then carries nothing, each camera at another
    time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bandwidth: tuple[float, float] | None = Field(None, description="null: as fast as the machine")
    up_s: float | None = Field(None, gt=0)
    down_s: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.bandwidth is not None and not 0 < self.bandwidth[0] <= self.bandwidth[1]:
            raise ValueError("a range of bandwidths runs from the least to the most, both above 0")
        if (self.up_s is None) != (self.down_s is None):
            raise ValueError("a flapping link needs up_s and down_s")
        if self.up_s is not None and self.bandwidth is None:
            raise ValueError("a flapping link needs a bandwidth while it is up")
        return self

    def draw(self, at: float, shift: float) -> Trace | None:
        """The link of one camera; `at` and `shift` in [0, 1) say which bandwidth and when it is down."""
        if self.bandwidth is None:
            return None
        least, most = self.bandwidth
        rate = least + at * (most - least)
        if self.up_s is None or self.down_s is None:
            return Trace([0.0], [rate])
        # A trace repeats after its last step, which lasts as long as the one before it: that one is halved.
        start = shift * self.up_s
        rest = self.up_s - start
        if start == 0:
            return Trace([0.0, self.up_s, self.up_s + self.down_s / 2], [rate, 0.0, 0.0])
        back = start + self.down_s
        return Trace([0.0, start, back, back + rest / 2], [rate, 0.0, rate, rate])


class Group(BaseModel):
    """Cameras of one tenant that behave alike.

    policy: `adapter`, the bundle's, or another that `penance-camera` knows.
    active: (second, share) points, straight between them: which share of the cameras sends at that time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    cameras: int = Field(gt=0, le=100_000)
    policy: str = "adapter"
    target_miou: float = Field(DEFAULT_TARGET, gt=0, lt=1)
    links: Links = Links()
    active: tuple[tuple[float, Share], ...] = ALWAYS

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        seconds = [second for second, _ in self.active]
        if not seconds or seconds[0] != 0 or any(later < earlier for earlier, later in pairwise(seconds)):
            raise ValueError("the points of `active` start at second 0 and come in the order of time")
        return self

    def sends(self, camera: int, second: float) -> bool:
        """Whether the camera of this number (from 0) sends at that time: the first ones send most."""
        return camera < self.cameras * self.share(second)

    def share(self, second: float) -> float:
        """Of the group's cameras that send."""
        after = bisect_right(self.active, second, key=lambda point: point[0])
        if after == len(self.active):
            return self.active[-1][1]
        (start, before), (end, then) = self.active[after - 1], self.active[after]
        return before + (then - before) * (second - start) / (end - start)


class Scenario(BaseModel):
    """What is played for so many seconds. `warm_up_s` of it are not counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    seconds: float = Field(gt=0)
    warm_up_s: float = Field(0.0, ge=0)
    segment: SegmentFormat = SegmentFormat()
    deadline_s: float | None = Field(None, gt=0)
    groups: tuple[Group, ...] = Field(min_length=1)

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Raises `ScenarioError`."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise ScenarioError(f"{path} is no scenario: {error}") from error

    def with_cameras(self, factor: float) -> Scenario:
        """The same with so many times the cameras, at least one in each group."""
        groups = (
            group.model_copy(update={"cameras": max(1, round(factor * group.cameras))})
            for group in self.groups
        )
        return self.model_copy(update={"groups": tuple(groups)})
