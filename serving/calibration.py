"""What audits teach about predicted accuracy: of a family everywhere, and of one camera's street.

Where no accuracy head is trained, a network's own confidence is calibrated by audits. The mean over pixels of
the highest softmax probability (Hendrycks and Gimpel, 2016) says how sure a variant is of a frame. How sure
it is, and how right, are two things: each audit gives one pair of both, and a line through the pairs of a
variant is fitted by least squares. Until there are pairs it is that of a prior."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

PRIOR_PAIRS = 8.0
"""As many pairs the prior is worth: with ten times as many audits it hardly matters."""
PRIOR_CONFIDENCE = (0.6, 0.95)
PRIOR_MIOU = (0.35, 0.85)
"""Two points of the prior's line, roughly where pruned variants are on drives that were not trained on."""


Weight = TypeVar("Weight", float, NDArray[np.float64])

KEPT = 0.9
"""Share of older audits' weight that is left after a camera's next one: streets and bundles change."""
DOUBT = 0.25
"""Audits without any error that each camera is taken to have had: one frame of one segment is no exact
measurement."""


def correction(weight: Weight, error: Weight) -> Weight:
    """By how much a camera's segments are to be taken for more accurate than is predicted, after audits of
    this weight whose errors (measured less predicted mIoU) add up to `error`."""
    return error / (weight + DOUBT)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Sums over pairs of confidence x and measured mIoU y."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    @classmethod
    def of(cls, confidence: float, miou: float, weight: float = 1.0) -> Calibration:
        x, y = confidence, miou
        return cls(weight, weight * x, weight * y, weight * x * x, weight * x * y)

    def __add__(self, other: Calibration) -> Calibration:
        mine, theirs = self.moments(), other.moments()
        return Calibration(**{name: mine[name] + theirs[name] for name in mine})

    def moments(self) -> dict[str, float]:
        return asdict(self)

    def predict(self, confidence: float) -> float:
        """The mIoU to expect of a segment whose last frame has this confidence, in [0, 1]."""
        known = self + _PRIOR
        mean_x, mean_y = known.x / known.n, known.y / known.n
        slope = (known.xy / known.n - mean_x * mean_y) / (known.xx / known.n - mean_x**2)
        return min(1.0, max(0.0, mean_y + slope * (confidence - mean_x)))


_PRIOR = Calibration.of(PRIOR_CONFIDENCE[0], PRIOR_MIOU[0], PRIOR_PAIRS / 2) + Calibration.of(
    PRIOR_CONFIDENCE[1], PRIOR_MIOU[1], PRIOR_PAIRS / 2
)
