"""An embedding and the bundle whose encoder made it: one is never without the other.

To a policy the numbers of another encoder mean nothing, so what takes an embedding asks whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.bundle import BundleError


@dataclass(frozen=True, slots=True)
class Embedding:
    """Values of the performance encoder of one bundle."""

    bundle: str
    values: NDArray[np.float32]  # (embedding,)

    def of(self, bundle: str) -> NDArray[np.float32]:
        """The values, for whoever works with that bundle. Raises `BundleError` for another's."""
        if self.bundle != bundle:
            raise BundleError(
                f"an embedding of {self.bundle} says nothing to what was learnt with {bundle}: wait for an "
                f"answer of {bundle}"
            )
        return self.values
