"""What could be chosen if everything were known: Optimal, and the best single configuration.

Optimal solves Eq. (2) on every segment and Eq. (3) where (2) has no solution (paper, 3.4.1 and 4.1.3). Beside
it stands the configuration that, kept for all segments at no more than Optimal's cost, fails least: where
that one fails rarely there is nothing to adapt to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.miou import Floats

TARGET = 0.65
BANDWIDTHS = (0.4, 0.5, 0.6, 0.7, 0.8)
"""MB/s; the paper says 0.4 to 0.8 and no more (Fig. 14)."""

MEGABYTE = 1e6
ROUNDING = 1e-9

Choice = NDArray[np.int64]  # (segments,) index of a configuration
Failed = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Known:
    """Everything about some segments: bytes, accuracy and cost of all configurations."""

    bytes: Floats  # (segments, configurations): size of the upload
    miou: Floats  # (segments, configurations)
    costs: Floats  # (configurations,)
    seconds: float = 1.0

    @classmethod
    def of(
        cls, setting_bytes: NDArray[np.integer] | Floats, miou: Floats, costs: Floats, seconds: float = 1.0
    ) -> Known:
        """From bytes (segments, settings): each setting stands for as many configurations as variants."""
        variants, rest = divmod(len(costs), setting_bytes.shape[1])
        if rest or miou.shape != (len(setting_bytes), len(costs)):
            raise ValueError(
                f"bytes {setting_bytes.shape}, accuracy {miou.shape} and {len(costs)} costs do not belong "
                "together"
            )
        return cls(setting_bytes.repeat(variants, axis=1).astype(np.float64), miou, costs, seconds)

    def at(self, rows: NDArray[np.int64]) -> Known:
        """Only these segments, in this order."""
        return replace(self, bytes=self.bytes[rows], miou=self.miou[rows])

    def fits(self, bandwidth: float | Floats) -> Failed:
        """(segments, configurations): uploaded within the segment's length at this bandwidth (MB/s), which
        may be (segments, 1)."""
        return self.bytes <= bandwidth * MEGABYTE * self.seconds

    def fails(self, target: float | Floats, bandwidth: float | Floats) -> Failed:
        """(segments, configurations): accuracy deficit or overuse. Both may be (segments, 1)."""
        return (self.miou < target) | ~self.fits(bandwidth)


def optimal(known: Known, target: float | Floats, bandwidth: float | Floats) -> Choice:
    """Optimal's choice for every segment; constraints may be (segments, 1).

    Cheapest of those that meet both constraints, at equal cost the highest mIoU. Where none meets both: the
    highest mIoU of those that fit, at equal mIoU the cheapest. Where none fits: the fewest bytes, and of
    those the cheapest, because what is dropped has no accuracy to lose.
    """
    costs = np.broadcast_to(known.costs, known.miou.shape)
    fits, good = known.fits(bandwidth), ~known.fails(target, bandwidth)
    solved = first(good, costs, -known.miou)
    within = first(fits, -known.miou, costs)
    smallest = first(np.ones_like(fits), known.bytes, costs)
    return np.where(good.any(1), solved, np.where(fits.any(1), within, smallest))


def first(allowed: Failed, *keys: Floats) -> Choice:
    """(segments,) the allowed configuration with the least first key, then second; index 0 if none is."""
    for key in keys:
        least = np.where(allowed, key, np.inf).min(1, keepdims=True)
        allowed = allowed & (key == least)
    first: Choice = allowed.argmax(1)
    return first


def best_static(known: Known, target: float, bandwidth: float, most: float) -> tuple[int, float]:
    """The configuration of at most this cost that fails on the fewest segments, and its failure rate."""
    rates = known.fails(target, bandwidth).mean(0)
    affordable = known.costs <= most + ROUNDING
    best = int(np.where(affordable, rates, np.inf).argmin())
    return best, float(rates[best])


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What there is to gain by adapting at one bandwidth; shares of segments."""

    bandwidth: float  # MB/s
    cost: float  # Optimal's mean
    failure: float  # even Optimal fails
    binds: float  # what Optimal would choose at unlimited bandwidth does not fit
    binds_cost: float  # ... and that changes Optimal's cost, or whether it fails
    static: int  # index of the best static configuration at Optimal's cost
    static_failure: float
    choices: Choice  # (segments,) Optimal's


def adaptation(known: Known, target: float, bandwidth: float) -> Adaptation:
    """Optimal against the best static configuration at one bandwidth."""
    segments = np.arange(len(known.miou))
    choices, free = optimal(known, target, bandwidth), optimal(known, target, np.inf)
    failed = known.fails(target, bandwidth)[segments, choices]
    changed = failed != known.fails(target, np.inf)[segments, free]
    cost = float(known.costs[choices].mean())
    static, static_failure = best_static(known, target, bandwidth, cost)
    return Adaptation(
        bandwidth=bandwidth,
        cost=cost,
        failure=float(failed.mean()),
        binds=float((~known.fits(bandwidth)[segments, free]).mean()),
        binds_cost=float((changed | (known.costs[choices] != known.costs[free])).mean()),
        static=static,
        static_failure=static_failure,
        choices=choices,
    )


def shares(choices: Choice, configurations: int) -> Floats:
    """(configurations,) share of the choices that fell on each."""
    return np.bincount(choices, minlength=configurations) / len(choices)
