"""Whether something grows: decisions on samples over time only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 0.2
"""The part of all samples after the warm-up whose median stands for the beginning, and for the end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value at a time in seconds since the start."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Growth:
    """From the first samples after the warm-up to the last ones, by medians. `per_hour` is the slope that the
    median pair of samples has (Theil and Sen), which a few outliers, such as a restart, do not move."""

    first: float
    last: float
    per_hour: float

    @property
    def share(self) -> float:
        """Growth as a part of what there was at first; 0 where that is nothing."""
        return self.last / self.first - 1 if self.first else 0.0


def growth(samples: Sequence[Sample], warm_up_s: float) -> Growth | None:
    """None where fewer than four samples lie behind the warm-up."""
    counted = [sample for sample in samples if sample.at >= warm_up_s]
    if len(counted) < 4:
        return None
    size = max(1, int(WINDOW * len(counted)))
    slopes = [
        (b.value - a.value) / (b.at - a.at)
        for i, a in enumerate(counted)
        for b in counted[i + 1 :]
        if b.at > a.at
    ]
    return Growth(
        median(sample.value for sample in counted[:size]),
        median(sample.value for sample in counted[-size:]),
        3600 * median(slopes),
    )


def grows(found: Growth, most_share: float, least: float) -> bool:
    """Whether it is more than noise: by over `most_share` of what there was, by at least `least`, and rising
    over all pairs of samples, not only in the last ones."""
    return found.share > most_share and found.last - found.first >= least and found.per_hour > 0
