"""When a camera that ended is started again: a decision only, no clocks and no processes."""

from __future__ import annotations

from dataclasses import dataclass

from clients.retry import Backoff, RandomSource

BACKOFF = Backoff(base=1.0, cap=60.0)
STEADY_S = 60.0
"""A camera that ran for so long was well: its next failure counts as its first."""


@dataclass(slots=True)
class Restarts:
    """Follows one camera's failures. Waits double from a second up to a minute; half of each is by chance, so
    cameras that lost the same switch do not all come back in the same moment."""

    backoff: Backoff = BACKOFF
    in_a_row: int = 0

    def after(self, ran_s: float, random: RandomSource) -> float:
        """Seconds until the next start of a camera that failed after `ran_s` seconds."""
        self.in_a_row = 1 if ran_s >= STEADY_S else self.in_a_row + 1
        longest = self.backoff.delay(self.in_a_row - 1, lambda: 1.0)
        return longest / 2 + random() * longest / 2
