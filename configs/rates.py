"""The rate card: what use costs, per camera and month (`configs/rates.yaml`)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[Decimal, Field(ge=0, le=1_000_000)]
HUNDREDTH = Decimal("0.01")


class RateCard(BaseModel):
    """Prices of what a camera used in a month; every part is added."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str = Field(pattern=r"^[A-Z]{3}$")
    camera_month: Rate
    million_segments: Rate
    petaflop: Rate
    gigabyte: Rate

    def price(self, segments: int, flops: int, size: int) -> Decimal:
        """Price of one camera's month: nothing for a camera without an accepted segment."""
        if segments == 0:
            return Decimal(0)
        used = self.million_segments * segments / 10**6 + self.petaflop * flops / 10**15
        used += self.gigabyte * size / 10**9
        return (self.camera_month + used).quantize(HUNDREDTH, ROUND_HALF_EVEN)


def load_rates(path: Path) -> RateCard:
    """Reads a rate card; `pydantic.ValidationError` says which rate is wrong and why."""
    return RateCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
