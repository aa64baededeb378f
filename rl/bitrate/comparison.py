"""Ours against AR(1), each given the very same sizes of the segments before (paper, 4.2.3).

The paper's AR(1) knows the true base size of the segment before. A camera sends a segment at one setting and
knows its size there and nowhere else. So both are compared for each way of knowing one size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.calibration import Calibration, Floats
from rl.bitrate.baseline import forecast
from rl.bitrate.calibration import filtered
from rl.bitrate.data import Seen, SizedSegments

Sent = NDArray[np.int64]  # (segments,) the setting at which each was sent
Knowledge = Literal["drawn", "base", "kept"]
KNOWLEDGE: dict[Knowledge, str] = {
    "drawn": "its size at a setting drawn anew each time",
    "base": "its size at the base setting",
    "kept": "its size at the setting that is estimated",
}
"""What is known of the segment before. `base` is what the paper's AR(1) knows; `kept` is a camera that stays
at one setting, judged at that one, over all settings."""


@dataclass(frozen=True)
class Rivals:
    """Estimated bytes (segments, settings). AR(1)'s are NaN where a segment follows none."""

    ours: Floats
    ar1: Floats


def rivals(data: SizedSegments, seen: Seen, calibration: Calibration, known: Knowledge) -> Rivals:
    """Both with this knowledge."""
    settings = seen.bytes.shape[1]
    if known == "kept":
        each = [_with(data, seen, calibration, np.full(len(data), kept)) for kept in range(settings)]
        columns = range(settings)
        return Rivals(
            np.stack([each[kept].ours[:, kept] for kept in columns], 1),
            np.stack([each[kept].ar1[:, kept] for kept in columns], 1),
        )
    sent = drawn_settings(len(data), settings) if known == "drawn" else np.zeros(len(data), np.int64)
    return _with(data, seen, calibration, sent)


def drawn_settings(segments: int, settings: int, seed: int = 0) -> Sent:
    """(segments,) settings drawn uniformly: what a camera sends whose policy nobody knows yet."""
    return np.random.default_rng(seed).integers(settings, size=segments)


def _with(data: SizedSegments, seen: Seen, calibration: Calibration, sent: Sent) -> Rivals:
    ours, _ = filtered(data, seen, calibration, sent)
    return Rivals(ours, forecast(calibration.baseline, data, sent))
