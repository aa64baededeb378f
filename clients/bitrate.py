"""The camera's bitrate estimator: a segment's bytes at every setting, before encoding it (paper, 3.2).

The network sees the pictures alone. What it cannot see in half-size luma, above all how much fine detail and
noise the full picture holds, is the same from one second to the next: once a segment has been encoded, its
true size tells how far off the network is, and the next estimates are corrected by that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clients.codec import CodecFlags
from clients.luma import Luma, fill_places, half_luma
from clients.source import Frame
from configs.bundle import Bundle, BundleError
from configs.faults import describe_faults
from configs.ladder import CompressionSpace
from configs.timing import TIMINGS, SegmentTiming

Floats = NDArray[np.float64]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Baseline(BaseModel):
    """AR(1) with a table of ratios (paper, 4.2.3), fitted to what the estimator was trained on. Nothing but
    the measurement of both reads it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: Finite = Field(description="bytes")
    slope: Finite
    ratios: tuple[Positive, ...] = Field(description="of every setting to the first, which is 1")


class Calibration(BaseModel):
    """How the network's errors go, learnt on drives that it was not trained on.

    An error is the logarithm of true over estimated bytes. Errors are taken for a stationary process: normal
    with this covariance between settings, of which `memory` remains after one segment.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    timing: SegmentTiming
    codec: CodecFlags
    space: CompressionSpace
    memory: float = Field(ge=0, lt=1)
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

    One setting's error is observed exactly; the others follow as far as they vary together with it.
    """

    def __init__(self, calibration: Calibration) -> None:
        self._memory = calibration.memory
        self._stationary = np.array(calibration.covariance)
        self.mean, self.covariance = np.zeros(len(self._stationary)), self._stationary

    @property
    def deviation(self) -> Floats:
        """(settings,) standard deviations of what is left."""
        return np.asarray(np.sqrt(np.maximum(self.covariance.diagonal(), 1e-12)))

    def advance(self) -> None:
        """One segment on."""
        kept = self._memory**2
        self.mean = self._memory * self.mean
        self.covariance = kept * self.covariance + (1 - kept) * self._stationary

    def observe(self, setting: int, error: float) -> None:
        """The error that this setting had."""
        variance = self.covariance[setting, setting]
        if variance < 1e-12:
            return  # known already
        gain = self.covariance[:, setting] / variance
        self.mean = self.mean + gain * (error - self.mean[setting])
        self.covariance = self.covariance - np.outer(gain, self.covariance[setting])


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """A segment's bytes at every compression setting, with an interval for each, and the features x."""

    bytes: Floats  # (settings,)
    lower: Floats  # (settings,)
    upper: Floats  # (settings,)
    features: NDArray[np.float32]  # (hidden,)


def interval(centre: Floats, deviation: Floats, calibration: Calibration) -> tuple[Floats, Floats]:
    """Lower and upper bytes around estimates (..., settings)."""
    below, above = np.array(calibration.below), np.array(calibration.above)
    return centre * np.exp(-below * deviation), centre * np.exp(above * deviation)


class BitrateEstimator:
    """Estimates segment after segment of one camera; not thread-safe.

    Ask `estimate` once for each segment, then tell `observe` what the segment came to at the setting at which
    it was encoded. Without the latter, estimates rest on the pictures alone.
    """

    def __init__(self, model: Path, calibration: Calibration) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.calibration = calibration
        self._errors = ErrorFilter(calibration)
        self._seen: Floats | None = None  # bytes (settings,) from the latest segment's pictures alone

    @classmethod
    def of(cls, bundle: Bundle, timing: SegmentTiming = TIMINGS[0]) -> Self:
        """The bundle's estimator for segments of this timing. Raises `BundleError` where it has none."""
        for entry in bundle.manifest.estimators:
            if entry.timing == timing:
                calibration = load_calibration(bundle.path(entry.calibration))
                return cls(bundle.path(entry.model), calibration)
        held = ", ".join(str(entry.timing) for entry in bundle.manifest.estimators) or "none"
        raise BundleError(
            f"{bundle.id} has no bitrate estimator for {timing} (it has: {held}): train one with "
            "penance-train bitrate, or take a bundle that has it"
        )

    def estimate(self, frames: Sequence[Frame]) -> SizeEstimate:
        """The sizes of a segment. Raises `ValueError` for frames that are too large or too many."""
        return self.estimate_luma(half_luma(frames))

    def estimate_luma(self, luma: Luma) -> SizeEstimate:
        """The same, from luma (frames, 360, 640). Raises `ValueError`."""
        self._errors.advance()
        self._seen, features = self.look(luma)
        corrected = self._seen * np.exp(self._errors.mean)
        lower, upper = interval(corrected, self._errors.deviation, self.calibration)
        return SizeEstimate(corrected, lower, upper, features)

    def look(self, luma: Luma) -> tuple[Floats, NDArray[np.float32]]:
        """Bytes (settings,) from the pictures alone, and features; remembers nothing."""
        filled = fill_places(luma, self.calibration.timing.frames)
        sizes, features = self._session.run(None, {"luma": filled[None]})
        return np.asarray(sizes[0], np.float64), np.asarray(features[0], np.float32)

    def observe(self, setting: int, size: int) -> None:
        """The latest segment came to `size` bytes at this compression setting (index on the ladder)."""
        if self._seen is not None and size > 0:
            self._errors.observe(setting, float(np.log(size / self._seen[setting])))


def load_calibration(path: Path) -> Calibration:
    """Reads a calibration. Raises `BundleError`."""
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise BundleError(f"{path} is no calibration of an estimator: {describe_faults(error)}") from error
