"""Whether a bundle on trial is worse than what is in force, decided by audits at any time.

Audits of cameras on trial and of the others are paired as they come. Of each pair two differences in [-1, 1]
are known: by how much more the one on trial failed (1, 0 or -1), and by how much less mIoU it had. As long as
it is not worse than the others by more than `margin`, each factor

    1 + bet * (difference - margin) / (1 + margin),    0 < bet < 1

has a mean of 1 at most whatever came before, so a product of them is a supermartingale that starts at 1, and
so is the average over several bets and both differences. By Ville's inequality it ever reaches 1 / alpha with
probability alpha at most (as in `serving/promise.py`): the trial may be looked at after every audit, and a
bundle that is no worse is taken back with probability 1 - `confidence` at most. Sensible bets follow
Waudby-Smith and Ramdas 2024, and the two samples Shekhar and Ramdas 2023.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from clients.rollout import CanaryStanding
from serving.state.bundles import Arm

_BETS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Small ones find small differences late, large ones large differences soon."""
MOST_WAITING = 256
"""Audits of the others that wait for a pair; the newest are taken, being of the same hour."""


class CanaryOptions(BaseModel):
    """Section `canary` of `configs/serving.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(0.99, gt=0.5, lt=1, description="a bundle that is no worse is kept so surely")
    margin: float = Field(
        0.1, ge=0, lt=0.5, description="share of failures, and mIoU, by which a bundle may be worse"
    )


class Verdict(NamedTuple):
    """What an audit showed: mIoU, and whether the segment fell short of its target."""

    miou: float
    failed: bool


class Evidence:
    """Takes a trial's audits one after the other."""

    def __init__(self, options: CanaryOptions) -> None:
        self._options = options
        self._logs = [0.0] * (2 * len(_BETS))  # of each bet's product, failures first
        self._canary: deque[Verdict] = deque()
        self._others: deque[Verdict] = deque(maxlen=MOST_WAITING)
        self._sums = {"canary": [0, 0, 0.0], "others": [0, 0, 0.0]}  # audited, failed, mIoU
        self.taken = 0

    def add(self, verdicts: Iterable[tuple[Arm, float, bool]]) -> None:
        """Takes audits in the order in which they came."""
        for arm, miou, failed in verdicts:
            self.taken += 1
            sums = self._sums[arm]
            sums[0], sums[1], sums[2] = sums[0] + 1, sums[1] + failed, sums[2] + miou
            (self._canary if arm == "canary" else self._others).append(Verdict(miou, failed))
            if self._canary and self._others:
                self._bet(self._canary.popleft(), self._others.pop())

    def _bet(self, canary: Verdict, other: Verdict) -> None:
        margin = self._options.margin
        differences = (float(canary.failed) - float(other.failed), other.miou - canary.miou)
        for number, difference in enumerate(differences):
            gain = (min(1.0, max(-1.0, difference)) - margin) / (1 + margin)
            for place, bet in enumerate(_BETS, number * len(_BETS)):
                self._logs[place] += math.log1p(bet * gain)

    @property
    def value(self) -> float:
        """Evidence that the bundle on trial is worse; 1 at the start."""
        largest = max(self._logs)
        mean = sum(math.exp(log - largest) for log in self._logs) / len(self._logs)
        return math.exp(min(700.0, largest + math.log(mean)))

    @property
    def worse(self) -> bool:
        """Whether it is shown to be worse."""
        return self.value >= 1 / (1 - self._options.confidence)

    def standing(self) -> CanaryStanding:
        """How the trial stands."""
        (audited, failed, miou), (others, others_failed, others_miou) = (
            self._sums["canary"],
            self._sums["others"],
        )
        return CanaryStanding(
            audited=int(audited),
            failed=int(failed),
            mean_miou=miou / audited if audited else None,
            others_audited=int(others),
            others_failed=int(others_failed),
            others_mean_miou=others_miou / others if others else None,
            evidence=self.value,
        )

    def told(self) -> str:
        """Why it is taken back, in a line."""
        standing = self.standing()
        return (
            f"worse than what is in force: {standing.failed} of {standing.audited} audited segments failed "
            f"(mean mIoU {standing.mean_miou or 0:.3f}), of other cameras {standing.others_failed} of "
            f"{standing.others_audited} ({standing.others_mean_miou or 0:.3f}); evidence "
            f"{standing.evidence:.0f}"
        )
