"""The certified promise: bounds on how many segments failed their target, true at every time at once.

The server audits each segment with probability `share`, by a coin of its own. So nothing needs to be assumed
of the failures themselves: they may come in bursts, drift with the weather or the policy, or depend on
earlier audits. If `audited` counts failures that an audit showed, and `failed` all of them, then for any
theta > 0

    M = exp(-theta * audited) / (1 - share * (1 - exp(-theta))) ** failed

is a martingale that starts at 1: a failure multiplies it by a factor whose mean over the coin is 1, a success
by 1. With the sign of theta turned it grows where there are too many audited failures instead of too few, so
the same argument gives a lower bound, by which a promise is known to be broken. A mixture over several theta
is one too, and by Ville's inequality it reaches 1/alpha at any time with probability alpha at most. Numbers
of failures for which it is there are therefore excluded, at every time at once: a confidence sequence
(Howard, Ramdas, McAuliffe and Sekhon 2021), by betting against each number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

_THETAS = tuple(2.0**power for power in range(-9, 3))
"""Small ones are sharp after many audited failures, large ones after few."""


class AuditOptions(BaseModel):
    """Section `audits` of `configs/serving.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.02, gt=0, le=1)
    confidence: float = Field(0.95, gt=0.5, lt=1)


@dataclass(frozen=True, slots=True)
class Audits:
    """What was counted since the share of audits last changed. An audit that was asked for and has no answer
    counts as failed: what keeps audits from coming (a full uplink) may be what makes segments fail."""

    share: float
    segments: int  # accepted while audits were drawn
    asked: int
    done: int
    failed: int
    dropped: int = 0  # known failures, beside `segments`

    def __add__(self, other: Audits) -> Audits:
        """Both together. Raises `ValueError` for different shares, which no one coin explains."""
        if self.share != other.share:
            raise ValueError(f"audits with shares {self.share:g} and {other.share:g} cannot be added")
        return Audits(
            self.share,
            self.segments + other.segments,
            self.asked + other.asked,
            self.done + other.done,
            self.failed + other.failed,
            self.dropped + other.dropped,
        )


def failure_rate_at_most(audits: Audits, confidence: float) -> float:
    """Upper bound on the share of failed segments, dropped ones among them. With probability `confidence` it
    holds at every time at which it is asked for. 1 before anything was counted."""
    total = audits.segments + audits.dropped
    if total == 0:
        return 1.0
    audited = audits.failed + audits.asked - audits.done
    most = audits.segments - (audits.done - audits.failed)  # audits showed that the others succeeded
    failed = min(float(most), _failures_at_most(audited, audits.share, 1 - confidence))
    return min(1.0, (failed + audits.dropped) / total)


def failure_rate_at_least(audits: Audits, confidence: float) -> float:
    """Lower bound on the same share, true at every time as well. Only failures that were shown count for it:
    an audit that did not come proves nothing against a camera. 0 before anything was counted."""
    total = audits.segments + audits.dropped
    if total == 0:
        return 0.0
    most = audits.segments - (audits.done - audits.failed)
    failed = min(float(most), _failures_at_least(audits.failed, audits.share, 1 - confidence))
    return (max(float(audits.failed), failed) + audits.dropped) / total


def log_evidence(failed: float, audited: int, share: float, sign: float = 1.0) -> float:
    """Logarithm of the mixture martingale for a supposed number of failures: against more of them, or with
    `sign` -1 against fewer."""
    terms = [failed * _psi(sign * theta, share) - sign * theta * audited for theta in _THETAS]
    largest = max(terms)
    return largest + math.log(sum(math.exp(term - largest) for term in terms) / len(terms))


def _psi(theta: float, share: float) -> float:
    return -math.log1p(share * math.expm1(-theta))


def _failures_at_most(audited: int, share: float, alpha: float) -> float:
    """The largest number of failures that the evidence does not exclude, by bisection: it only rises."""
    low, high = float(audited), (audited + 10.0) / share
    while log_evidence(high, audited, share) < -math.log(alpha):
        high *= 2
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if log_evidence(middle, audited, share) < -math.log(alpha):
            low = middle
        else:
            high = middle
    return high


def _failures_at_least(audited: int, share: float, alpha: float) -> float:
    """The smallest number of failures that the evidence does not exclude, by bisection: it only falls."""
    low, high = 0.0, audited / share  # as many as audits suggest are never excluded
    while high - low > 1e-6 * max(1.0, high):
        middle = (low + high) / 2
        if log_evidence(middle, audited, share, -1.0) < -math.log(alpha):
            high = middle
        else:
            low = middle
    return low
