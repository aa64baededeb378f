"""Places for connections that stay open: bounded, and no tenant takes them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field

from serving.problems import Overloaded

AGAIN_S = 5.0


class PlacesOptions(BaseModel):
    """How many connections of one kind an ingress replica holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most: int = Field(ge=1, le=100_000)
    most_per_tenant: int = Field(ge=1, le=100_000)


class ConnectionsOptions(BaseModel):
    """Section `connections` of `configs/serving.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listeners: PlacesOptions = PlacesOptions(most=256, most_per_tenant=64)
    uploads: PlacesOptions = PlacesOptions(most=512, most_per_tenant=256)


class Places:
    """The places of one kind; all its methods belong to one event loop."""

    def __init__(self, options: PlacesOptions) -> None:
        self._options = options
        self._taken: Counter[str] = Counter()

    @contextmanager
    def hold(self, tenant: str) -> Iterator[None]:
        """Holds a place. Raises `Overloaded` where there is none."""
        if self._taken.total() >= self._options.most or self._taken[tenant] >= self._options.most_per_tenant:
            raise Overloaded(
                f"This replica holds {self._options.most} such connections and "
                f"{self._options.most_per_tenant} of one tenant's at most. Try again, or close another.",
                AGAIN_S,
            )
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            self._taken += Counter()  # forgets tenants without any
