"""The ladder: the ordered table of every configuration a camera may choose (paper, 2.1.2).

A *configuration* is (scale, QP, variant). The order is fixed, because its index travels in the protocol
and indexes the policy's output: scale falls slowest, then QP rises, then the variant rises. Index 0 is
therefore always the most expensive configuration, (1.0, 20, 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator

LADDER_FILE = Path(__file__).with_name("ladder.yaml")
FEWEST_VARIANTS, MOST_VARIANTS = 2, 9
"""One variant leaves nothing to choose; each has a deployment of its own, so there is an end."""


@dataclass(frozen=True, slots=True)
class CompressionSetting:
    """How a segment is compressed: the resolution scale of both sides and x264's constant QP."""

    scale: float
    qp: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """One rung: a compression setting and the variant that segments what was compressed."""

    index: int
    scale: float
    qp: int
    variant: int

    @property
    def setting(self) -> CompressionSetting:
        return CompressionSetting(self.scale, self.qp)

    def __str__(self) -> str:
        return f"{self.scale:g}x / QP {self.qp} / variant {self.variant}"


class VariantSpec(BaseModel):
    """One model of the family: the share of variant 0's FLOPs that it does without."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sparsity: float = Field(ge=0.0, lt=1.0)


class CompressionSpace(BaseModel):
    """What a camera may choose apart from the variant: scales x QPs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scales: tuple[float, ...] = Field(min_length=1)
    qps: tuple[int, ...] = Field(min_length=1)

    @field_validator("scales")
    @classmethod
    def _scales_fall_from_full_size(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if scales[0] != 1.0 or list(scales) != sorted(set(scales), reverse=True) or scales[-1] <= 0:
            raise ValueError("scales must start at 1.0 and fall strictly, all above 0")
        return scales

    @field_validator("qps")
    @classmethod
    def _qps_rise(cls, qps: tuple[int, ...]) -> tuple[int, ...]:
        if list(qps) != sorted(set(qps)) or qps[0] < 0 or qps[-1] > 51:
            raise ValueError("QPs must rise strictly within H.264's 0 to 51")
        return qps


class Ladder(CompressionSpace):
    """The configuration space: scales x QPs x variants, in the one documented order."""

    model_config = ConfigDict(ignored_types=(cached_property,))

    variants: tuple[VariantSpec, ...]

    @field_validator("variants")
    @classmethod
    def _variants_get_sparser(cls, variants: tuple[VariantSpec, ...]) -> tuple[VariantSpec, ...]:
        if not FEWEST_VARIANTS <= len(variants) <= MOST_VARIANTS:
            raise ValueError(
                f"a family has {FEWEST_VARIANTS} to {MOST_VARIANTS} variants, found {len(variants)}"
            )
        sparsities = [variant.sparsity for variant in variants]
        if sparsities[0] != 0.0 or sparsities != sorted(set(sparsities)):
            raise ValueError("variant 0 must be dense (sparsity 0) and sparsity must rise strictly")
        return variants

    @cached_property
    def settings(self) -> tuple[CompressionSetting, ...]:
        """The compression settings, in the order in which the bitrate estimator predicts their bytes."""
        return tuple(CompressionSetting(scale, qp) for scale in self.scales for qp in self.qps)

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        rungs = ((s.scale, s.qp, v) for s in self.settings for v in range(len(self.variants)))
        return tuple(Configuration(i, *rung) for i, rung in enumerate(rungs))

    def __len__(self) -> int:
        return len(self.configurations)

    def __getitem__(self, index: int) -> Configuration:
        return self.configurations[index]

    def rungs(self) -> Iterator[Configuration]:
        """All configurations in ladder order (`BaseModel` claims `__iter__` for its fields)."""
        return iter(self.configurations)

    def index(self, scale: float, qp: int, variant: int) -> int:
        """The index of a configuration; `ValueError` names the choices if it is not on the ladder."""
        for configuration in self.configurations:
            if (configuration.scale, configuration.qp, configuration.variant) == (scale, qp, variant):
                return configuration.index
        raise ValueError(
            f"({scale}, {qp}, {variant}) is not on the ladder: scales {self.scales}, QPs {self.qps}, "
            f"variants 0 to {len(self.variants) - 1}"
        )


def load_ladder(path: Path = LADDER_FILE) -> Ladder:
    """Reads a ladder from YAML; `pydantic.ValidationError` says which field is wrong and why."""
    return Ladder.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
