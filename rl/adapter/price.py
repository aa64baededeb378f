"""What a failure costs in a Lagrangian: a price that rises while more fail than may, and falls else."""

from __future__ import annotations

import numpy as np

PRICE, PRICE_RATE, HIGHEST_PRICE = 2.0, 0.2, 50.0
"""Where it starts, how fast it moves, and where it ends. Costs are at most 1."""


def moved(price: float, failing: float, aim: float) -> float:
    """The price after this share failed where `aim` may."""
    return float(np.clip(price + PRICE_RATE * (failing - aim), 0.0, HIGHEST_PRICE))
