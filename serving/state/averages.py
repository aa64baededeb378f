"""A camera's moving averages, as a pure function: the reference for what the commit script does.

DESIGN: smoothing 0.2; at a start, whenever the target is drawn anew, and with another bundle, the averages of
deficit and overuse are 0 and that of cost is the first segment's cost (paper, 3.4.4).
"""

from __future__ import annotations

from dataclasses import dataclass

SMOOTHING = 0.2


@dataclass(frozen=True, slots=True)
class Averages:
    """Exponential moving averages of cost C, accuracy deficit U and overuse O (megabytes)."""

    target: float | None = None
    bundle: str = ""
    cost: float | None = None
    deficit: float = 0.0
    overuse: float = 0.0

    def _aimed_at(self, target: float, bundle: str) -> Averages:
        same = self.target in (None, target) and (not self.bundle or not bundle or self.bundle == bundle)
        return self if same else Averages(target=target)

    def _with_cost(self, cost: float) -> float:
        return cost if self.cost is None else follow(self.cost, cost)

    def after_segment(
        self, target: float, cost: float, overuse: float | None, deficit: float | None, bundle: str = ""
    ) -> Averages:
        """The averages once an accepted segment is counted; what is unknown leaves its average alone."""
        old = self._aimed_at(target, bundle)
        return Averages(
            target=target,
            bundle=bundle or self.bundle,
            cost=old._with_cost(cost),
            deficit=old.deficit if deficit is None else follow(old.deficit, deficit),
            overuse=old.overuse if overuse is None else follow(old.overuse, overuse),
        )

    def after_drop(self, target: float, cost: float, bundle: str = "") -> Averages:
        """The averages once a dropped segment is counted, which the accepted one that tells of it does:
        accuracy 0, cost at the chosen configuration."""
        old = self._aimed_at(target, bundle)
        deficit = follow(old.deficit, target)
        return Averages(target, bundle or self.bundle, old._with_cost(cost), deficit, old.overuse)


def corrected(deficit: float, updates_since: int, audited: float, predicted: float) -> float:
    """The average deficit once an audit showed what a prediction stood for, `updates_since` segments ago:
    U_EMA += alpha (1 - alpha)^k (U_audit - U_predicted), as if it had been known then."""
    weight = SMOOTHING
    for _ in range(updates_since):
        weight *= 1 - SMOOTHING
        if weight < 1e-30:
            break
    return deficit + weight * (audited - predicted)


def follow(average: float, value: float) -> float:
    return SMOOTHING * value + (1 - SMOOTHING) * average
