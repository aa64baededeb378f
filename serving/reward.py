"""The self-competition reward, Eq. (7)-(8) of the paper (3.4.4), as pure functions over arrays.

A choice is judged against the camera's own moving averages *before* they take the segment in. Two slips of
the print are mended: delta asks for `O <= 0` where the paper prints `C <= 0` (cost is never negative), and
`xi` comes in both readings, because the printed one punishes constraints that hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from serving.state.averages import SMOOTHING

Floats = NDArray[np.float64]
Xi = Literal["violations", "literal"]


@dataclass(frozen=True, slots=True)
class Segments:
    """What became of segments; leading dimensions are free and broadcast."""

    cost: Floats  # C, normalised by the most expensive configuration
    deficit: Floats  # U = A - lambda; A itself for a dropped segment, whose accuracy is 0
    overuse: Floats  # O = b - B T, megabytes

    @classmethod
    def judged(
        cls, cost: Floats, miou: Floats, megabytes: Floats, target: Floats, budget: Floats
    ) -> Segments:
        """By the drop rule: what does not fit `budget` (B T, megabytes) is dropped, with accuracy 0."""
        overuse = megabytes - budget
        return Segments(cost, np.where(overuse > 0, target, target - miou), overuse)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Whether a constraint is violated."""
        return np.asarray((self.deficit > 0) | (self.overuse > 0))


@dataclass(frozen=True, slots=True)
class MovingAverages:
    """C_EMA, U_EMA and O_EMA of many cameras. `cost` is NaN before the first segment, whose own cost then
    stands in for it; deficit and overuse start at 0. One camera's are `serving.state.averages.Averages`."""

    cost: Floats
    deficit: Floats
    overuse: Floats

    @classmethod
    def fresh(cls, cameras: int) -> Self:
        return cls(np.full(cameras, np.nan), np.zeros(cameras), np.zeros(cameras))

    def after(self, segments: Segments) -> MovingAverages:
        """The averages once one segment of every camera is counted."""
        known = np.where(np.isnan(self.cost), segments.cost, self.cost)
        return MovingAverages(
            _follow(known, segments.cost),
            _follow(self.deficit, segments.deficit),
            _follow(self.overuse, segments.overuse),
        )


def reward(segments: Segments, averages: MovingAverages, xi: Xi = "violations") -> Floats:
    """Eq. (7): `sgn(C_EMA - C) delta - xi`, from -2 to 1. Averages broadcast against segments.

    xi: `violations` punishes a constraint that is violated and no better than its average; `literal` is the
        printed Eq. (8), which also punishes one that holds by less than it does on average.
    """
    rival = np.where(np.isnan(averages.cost), segments.cost, averages.cost)
    kept = (
        (averages.deficit <= 0) & (averages.overuse <= 0) & (segments.deficit <= 0) & (segments.overuse <= 0)
    )
    worse_deficit, worse_overuse = (
        segments.deficit >= averages.deficit,
        segments.overuse >= averages.overuse,
    )
    if xi == "violations":
        worse_deficit = worse_deficit & (segments.deficit > 0)
        worse_overuse = worse_overuse & (segments.overuse > 0)
    return np.asarray(np.sign(rival - segments.cost) * kept - (worse_deficit | worse_overuse), np.float64)


def _follow(average: Floats, value: Floats) -> Floats:
    return np.asarray(SMOOTHING * value + (1 - SMOOTHING) * average)
