"""How the bitrate estimator's errors go: learnt on drives that it was not trained on, and followed while a
camera runs.

What half-size luma does not show, above all how much fine detail and noise the full picture holds, is the
same from one segment to the next as long as the camera looks at the same things. So an error lasts for as
long as the picture does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clients.codec import CodecFlags
from configs.bundle import BundleError
from configs.faults import describe_faults
from configs.ladder import CompressionSpace
from configs.timing import SegmentTiming

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]

LASTING = 0.99
"""What is left of a lasting error after one segment: cameras are moved and cleaned, too."""
LEAST_VARIANCE = 1e-12


class Baseline(BaseModel):
    """AR(1) with a table of ratios (paper, 4.2.3), fitted to what the estimator was trained on. Nothing but
    the measurement of both reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: Finite = Field(description="bytes")
    slope: Finite
    ratios: tuple[Positive, ...] = Field(description="of every setting to the first, which is 1")


class Memory(BaseModel):
    """How errors go on from segment to segment.

    A share `lasting` of their variance belongs to the camera (its sensor, its lens, how its video was made)
    and stays. The rest belongs to what is seen: of it exp(-(fading + by_change x change)) is left after a
    segment, where `change` is how much of the picture is another one by then
    (`clients.luma.picture_change`). A still camera keeps nearly all of an error, a moving one little more
    than the lasting share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lasting: float = Field(ge=0, le=1)
    fading: NotNegative
    by_change: NotNegative

    def left(self, change: float) -> float:
        """What is left, of its amplitude, of the part that belongs to what is seen."""
        return float(np.exp(-(self.fading + self.by_change * change)))


class Calibration(BaseModel):
    """What is known of a network's errors.

    An error is the logarithm of true over estimated bytes. Errors are taken for a process that is normal with
    this covariance between settings at any time, and goes on as `memory` says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    timing: SegmentTiming
    codec: CodecFlags
    space: CompressionSpace
    memory: Memory
    covariance: tuple[tuple[Finite, ...], ...] = Field(description="(settings, settings)")
    coverage: float = Field(gt=0, lt=1, description="share of sizes that lie within their interval")
    below: tuple[Finite, ...] = Field(description="standard deviations down to the interval's lower end")
    above: tuple[Finite, ...] = Field(description="... and up to its upper end")
    flops: int = Field(gt=0, description="of one segment by torch's counter, 2 per multiply-add")
    baseline: Baseline

    @model_validator(mode="after")
    def _one_number_a_setting(self) -> Self:
        settings = len(self.space.scales) * len(self.space.qps)
        lengths = {len(self.covariance), len(self.below), len(self.above), len(self.baseline.ratios)}
        if lengths | {len(row) for row in self.covariance} != {settings}:
            raise ValueError(f"expected one number for each of the {settings} compression settings")
        if np.linalg.eigvalsh(np.array(self.covariance)).min() <= 0:
            raise ValueError("the covariance of errors must be positive definite")
        return self


class ErrorFilter:
    """What the sizes seen so far say of the errors to come: a Kalman filter over all settings at once.

    Its state holds both parts of every setting's error, the lasting one and that of what is seen. One
    setting's error, which is the sum, is observed exactly; all others follow as far as they vary together
    with it.
    """

    def __init__(self, memory: Memory, covariance: Floats) -> None:
        """covariance: (settings, settings) of errors."""
        self._memory, self._settings = memory, len(covariance)
        parts = np.diag([memory.lasting, 1 - memory.lasting])
        self._stationary = np.kron(parts, covariance)
        self.restart()

    @classmethod
    def of(cls, calibration: Calibration) -> Self:
        return cls(calibration.memory, np.array(calibration.covariance))

    @property
    def mean(self) -> Floats:
        """(settings,) errors to expect."""
        return np.asarray(self._state.reshape(2, -1).sum(0))

    @property
    def deviation(self) -> Floats:
        """(settings,) standard deviations around them."""
        size = self._settings
        variance = self._covariance.reshape(2, size, 2, size).sum((0, 2)).diagonal()
        return np.asarray(np.sqrt(np.maximum(variance, LEAST_VARIANCE)))

    def restart(self) -> None:
        """Nothing was seen yet."""
        self._state, self._covariance = np.zeros(2 * self._settings), self._stationary

    def advance(self, change: float) -> None:
        """One segment on, in which this much of the picture changed."""
        left = np.repeat([LASTING, self._memory.left(change)], self._settings)
        self._state = left * self._state
        kept = np.outer(left, left)
        self._covariance = kept * self._covariance + (1 - kept) * self._stationary

    def observe(self, setting: int, error: float) -> None:
        """The error that this setting had."""
        both = [setting, self._settings + setting]
        shared = self._covariance[:, both].sum(1)
        variance = shared[both].sum()
        if variance < LEAST_VARIANCE:
            return  # known already
        gain = shared / variance
        self._state = self._state + gain * (error - self._state[both].sum())
        self._covariance = self._covariance - np.outer(gain, shared)


def interval(centre: Floats, deviation: Floats, calibration: Calibration) -> tuple[Floats, Floats]:
    """Lower and upper bytes around estimates (..., settings)."""
    below, above = np.array(calibration.below), np.array(calibration.above)
    return centre * np.exp(-below * deviation), centre * np.exp(above * deviation)


def load_calibration(path: Path) -> Calibration:
    """Reads a calibration. Raises `BundleError`."""
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise BundleError(f"{path} is no calibration of an estimator: {describe_faults(error)}") from error
