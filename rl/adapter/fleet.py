"""Many simulated cameras on one replay, in step: what Eq. (4) lets them see, and what becomes of their
choices.

Answers come late. The answer to a segment is there `lag` segments later, if at all; a camera sees the newest
that is there, with its age. A dropped segment is never answered (paper, 3.4.1).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clients.state import NONE, SeenStates
from rl.adapter.replay import Replay
from serving.calibration import KEPT, correction
from serving.miou import Floats
from serving.reward import MovingAverages, Segments

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]

_AVERAGES = ("cost", "deficit", "overuse")
_STATE = (
    *("rows", "ends", "begun", "target", "bandwidth", "over"),
    *("_coming_row", "_coming_choice", "_row", "_choice", "_audits", "_found"),
)
"""What `Fleet.saved` keeps beside the averages and the generator of random numbers."""


@dataclass(frozen=True, slots=True)
class Lags:
    """How late answers are: the probability of 1, 2, ... segments, and of none ever."""

    probabilities: tuple[float, ...] = (1.0,)
    lost: float = 0.0

    def __post_init__(self) -> None:
        if abs(sum(self.probabilities) - 1) > 1e-9 or min(self.probabilities) < 0 or not 0 <= self.lost <= 1:
            raise ValueError(
                "lags need probabilities that add up to 1 and a lost share of 0 to 1, got "
                f"{self.probabilities} and {self.lost}"
            )

    def draw(self, count: int, rng: np.random.Generator) -> Rows:
        """(count,) lags; 0 where the answer never comes."""
        lags = 1 + rng.choice(len(self.probabilities), count, p=self.probabilities)
        return np.where(rng.random(count) < self.lost, 0, lags)


AUDIT_EVERY = 10
"""Segments between two audits of a camera, the first of which is its first segment."""
AUDIT_FRAMES = 15
"""Of the frames of a segment, an audit has one segmented by variant 0."""
RANDOM_LAGS = Lags((0.6, 0.25, 0.15), lost=0.05)
"""What is trained with."""


@dataclass(frozen=True, slots=True)
class Cameras:
    """Before a choice: the state, and what only judges and oracles may look at."""

    seen: SeenStates
    correction: Floats  # (n,) by how much audits found more accuracy than was predicted; 0 before the first
    rows: Rows  # (n,) in the replay
    begun: Rows  # (n,) row of the episode's first segment


@dataclass
class Fleet:
    """n cameras, each in an episode of its own. `start` them, then ask `look` and `choose` in turn."""

    replay: Replay
    cameras: int
    rng: np.random.Generator
    lags: Lags = RANDOM_LAGS
    rows: Rows = field(init=False)
    ends: Rows = field(init=False)
    begun: Rows = field(init=False)
    target: Floats = field(init=False)
    bandwidth: Floats = field(init=False)
    averages: MovingAverages = field(init=False)
    over: Flags = field(init=False)  # episodes that ended with the latest choice and have not begun anew

    def __post_init__(self) -> None:
        slots = len(self.lags.probabilities) + 1
        self.rows, self.ends, self.begun = (np.zeros(self.cameras, np.int64) for _ in range(3))
        self.target, self.bandwidth = np.zeros(self.cameras), np.ones(self.cameras)
        self.averages = MovingAverages.fresh(self.cameras)
        self.over = np.zeros(self.cameras, np.bool_)
        # Answers on their way, by the time of arrival modulo the number of slots; the newest known one.
        self._coming_row, self._coming_choice = (
            np.full((self.cameras, slots), NONE, np.int64) for _ in range(2)
        )
        self._row, self._choice = (np.full(self.cameras, NONE, np.int64) for _ in range(2))
        self._audits, self._found = np.zeros(self.cameras), np.zeros(self.cameras)  # weight, sum of errors

    def start(self, which: Flags, rows: Rows, ends: Rows, target: Floats, bandwidth: Floats) -> None:
        """New episodes for some cameras: arrays are (cameras,), of which only `which` count."""
        for name, values in (("rows", rows), ("begun", rows), ("ends", ends)):
            setattr(self, name, np.where(which, values, getattr(self, name)))
        self.target = np.where(which, target, self.target)
        self.bandwidth = np.where(which, bandwidth, self.bandwidth)
        old = self.averages
        self.averages = MovingAverages(
            np.where(which, np.nan, old.cost),
            np.where(which, 0.0, old.deficit),
            np.where(which, 0.0, old.overuse),
        )
        self.over = self.over & ~which
        self._coming_row[which] = self._row[which] = NONE
        self._audits[which] = self._found[which] = 0

    def look(self) -> Cameras:
        """What every camera sees before its segment."""
        slot = self.rows % self._coming_row.shape[1]
        every = np.arange(self.cameras)
        arrived = self._coming_row[every, slot] > self._row
        self._row = np.where(arrived, self._coming_row[every, slot], self._row)
        self._choice = np.where(arrived, self._coming_choice[every, slot], self._choice)
        self._coming_row[every, slot] = NONE
        self._audit(arrived)
        known = self._row != NONE
        embedding = self.replay.embeddings[np.where(known, self._row, 0), self._choice]
        seen = SeenStates(
            target=self.target,
            bandwidth=self.bandwidth,
            bytes=self.replay.estimated[self.rows],
            embedding=np.where(known[:, None], embedding, 0).astype(np.float32),
            made_by=np.where(known, self._choice, NONE),
            age=np.where(known, self.rows - self._row, 0),
            features=self.replay.features[self.rows],
        )
        return Cameras(seen, correction(self._audits, self._found), self.rows, self.begun)

    def _audit(self, arrived: Flags) -> None:
        """Takes in what audits found out about the answers that have just arrived."""
        if not self.replay.predicted.shape[1]:
            return
        audited = np.flatnonzero(arrived & ((self._row - self.begun) % AUDIT_EVERY == 0))
        at = self._row[audited], self._choice[audited]
        error = self.replay.last_frame[at] - self.replay.predicted[at]
        self._found[audited] = KEPT * self._found[audited] + error
        self._audits[audited] = KEPT * self._audits[audited] + 1

    def outcomes(self) -> Segments:
        """(cameras, configurations): what every choice would come to."""
        known = self.replay.known
        budget = self.bandwidth * self.replay.seconds
        return Segments.judged(
            known.costs[None],
            known.miou[self.rows],
            self.replay.megabytes[self.rows],
            self.target[:, None],
            budget[:, None],
        )

    def rivals(self) -> MovingAverages:
        """(cameras, 1): the averages that all choices are judged against."""
        return MovingAverages(
            self.averages.cost[:, None], self.averages.deficit[:, None], self.averages.overuse[:, None]
        )

    def choose(self, choices: Rows, outcomes: Segments) -> Flags:
        """Takes the choices in and goes one segment on; gives which episodes are over."""
        every = np.arange(self.cameras)
        taken = Segments(
            outcomes.cost[0, choices], outcomes.deficit[every, choices], outcomes.overuse[every, choices]
        )
        self.averages = self.averages.after(taken)
        lag = self.lags.draw(self.cameras, self.rng)
        answered = (taken.overuse <= 0) & (lag > 0)
        slot = (self.rows + lag) % self._coming_row.shape[1]
        self._coming_row[every[answered], slot[answered]] = self.rows[answered]
        self._coming_choice[every[answered], slot[answered]] = choices[answered]
        self.rows = self.rows + 1
        self.over = self.rows >= self.ends
        self.rows = np.where(self.over, self.ends - 1, self.rows)  # until a new episode begins
        return self.over

    def saved(self) -> bytes:
        """All of its state, for `restore`."""
        file = io.BytesIO()
        rng = np.array(json.dumps(self.rng.bit_generator.state))
        averages = {f"averages_{name}": getattr(self.averages, name) for name in _AVERAGES}
        np.savez(file, rng=rng, **averages, **{name: getattr(self, name) for name in _STATE})
        return file.getvalue()

    def restore(self, saved: bytes) -> bool:
        """Goes on from a state that was saved of a fleet of the same size on the same replay; False for
        another size."""
        with np.load(io.BytesIO(saved)) as held:
            if held["rows"].shape != self.rows.shape or held["rows"].max() >= len(self.replay):
                return False
            self.rng.bit_generator.state = json.loads(str(held["rng"]))
            self.averages = MovingAverages(**{name: held[f"averages_{name}"] for name in _AVERAGES})
            for name in _STATE:
                setattr(self, name, held[name])
        return True

    @classmethod
    def over_runs(cls, replay: Replay, target: Floats, bandwidth: Floats, lags: Lags, seed: int = 0) -> Self:
        """One camera for each run and each pair of target and bandwidth, all at their run's start: pairs vary
        slowest."""
        pairs, runs = len(target), len(replay.runs)
        fleet = cls(replay, pairs * runs, np.random.default_rng(seed), lags)
        starts, ends = (np.tile(replay.runs[:, side], pairs) for side in (0, 1))
        every = np.ones(pairs * runs, np.bool_)
        fleet.start(every, starts, ends, target.repeat(runs), bandwidth.repeat(runs))
        return fleet
