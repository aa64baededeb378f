"""The camera's bitrate estimator: a segment's bytes at every setting, before encoding it (paper, 3.2).

The network sees the pictures alone. Once a segment has been encoded, its true size tells how far off the
network was, and the next estimates are corrected by that, as far as the picture is still the same
(`clients.calibration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clients.calibration import Calibration, ErrorFilter, Floats, interval, load_calibration
from clients.inference import one_thread_session
from clients.luma import Luma, fill_places, half_luma, picture_change
from clients.source import Frame
from configs.bundle import Bundle, BundleError
from configs.timing import TIMINGS, SegmentTiming


@dataclass(frozen=True, slots=True)
class SizeEstimate:
    """A segment's bytes at every compression setting, with an interval for each, and the features x."""

    bytes: Floats  # (settings,)
    lower: Floats  # (settings,)
    upper: Floats  # (settings,)
    features: NDArray[np.float32]  # (hidden,)


class BitrateEstimator:
    """Estimates segment after segment of one camera; not thread-safe.

    Ask `estimate` once for each segment, then tell `observe` what the segment came to at the setting at which
    it was encoded. Without the latter, estimates rest on the pictures alone.
    """

    def __init__(self, model: Path, calibration: Calibration) -> None:
        self._session = one_thread_session(model)
        self.calibration = calibration
        self._errors = ErrorFilter.of(calibration)
        self._seen: Floats | None = None  # bytes (settings,) from the latest segment's pictures alone
        self._last: Luma | None = None  # the latest segment's first frame

    @classmethod
    def of(cls, bundle: Bundle, timing: SegmentTiming = TIMINGS[0]) -> Self:
        """The bundle's estimator for segments of this timing. Raises `BundleError` where it has none."""
        entry = bundle.manifest.estimator(timing)
        if entry is not None:
            return cls(bundle.path(entry.model), load_calibration(bundle.path(entry.calibration)))
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
        if self._last is not None:
            self._errors.advance(picture_change(self._last, luma[0]))
        self._last = luma[0].copy()
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
