"""Admission: whether a segment can be answered in time. Pure decisions, no clocks, no Ray.

What cannot be answered by its deadline is refused at once, not served late: a camera that is told early
sends its next segment instead of waiting for an answer it can no longer use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SMOOTHING = 0.2
QUEUE_LIMIT = 64
"""Segments waiting for one variant at one ingress before more are refused."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision; `expected_s` says how long the answer is expected to take."""

    admitted: bool
    expected_s: float
    reason: str = ""
    retry_after_s: float = 0.0


@dataclass(slots=True)
class VariantLoad:
    """What an ingress knows of one variant: who is waiting, and how long each configuration takes."""

    waiting: int = 0
    service_s: dict[int, float] = field(default_factory=dict)

    def observe(self, configuration: int, seconds: float) -> None:
        """Takes in how long a segment kept a replica busy."""
        old = self.service_s.get(configuration)
        self.service_s[configuration] = seconds if old is None else old + SMOOTHING * (seconds - old)

    def admit(self, configuration: int, remaining_s: float) -> Admission:
        """Decides for a segment that must be answered within `remaining_s`."""
        mean = sum(self.service_s.values()) / len(self.service_s) if self.service_s else 0.0
        own = self.service_s.get(configuration, 0.0)  # unknown yet: give it the chance
        expected = own + self.waiting * mean
        if self.waiting >= QUEUE_LIMIT:
            return Admission(
                False, expected, f"{self.waiting} segments wait for this variant", max(mean, 0.5)
            )
        if expected > remaining_s:
            reason = (
                f"answering is expected to take {expected:.2f} s and {max(0.0, remaining_s):.2f} s are left"
            )
            return Admission(False, expected, reason, max(0.0, expected - remaining_s))
        return Admission(True, expected)
