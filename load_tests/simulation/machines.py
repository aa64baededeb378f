"""Machine types with what they can do and cost (`machines.yaml`): people's own numbers, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.faults import describe_faults

MACHINES = Path(__file__).with_name("machines.yaml")


class MachinesError(ValueError):
    """The file of machines is missing or wrong; the message says where and what is expected."""


class Gpu(BaseModel):
    """What a GPU does for one variant's segment: FLOPs at a speed, and a floor of what is not FLOPs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory_gb: float = Field(gt=0)
    tflops: float = Field(gt=0, description="10^12 FLOPs a second, 2 per multiply-add, that come out")
    floor_ms: float = Field(ge=0, description="a segment: frames in, label maps, launches")

    def seconds(self, flops: float) -> float:
        """That a segment of so many FLOPs has the GPU."""
        return flops / (self.tflops * 1e12) + self.floor_ms / 1e3


class Machine(BaseModel):
    """One type of machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    price_per_hour: float = Field(ge=0)
    processors: int = Field(ge=1)
    speed: float = Field(gt=0, description="of one processor, over the calibration's")
    memory_gb: float = Field(gt=0)
    gpu: Gpu | None = None


class Start(BaseModel):
    """Seconds until what was asked for is there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_s: float = Field(ge=0)
    replica_s: float = Field(ge=0)


class Machines(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str
    hours_a_month: float = Field(gt=0)
    machines: dict[str, Machine]
    ingress: str
    always: tuple[str, ...]
    day: tuple[float, ...] = Field(min_length=24, max_length=24)
    start: Start

    @model_validator(mode="after")
    def _names_are_known_and_shares_are_shares(self) -> Self:
        unknown = sorted({self.ingress, *self.always} - set(self.machines))
        if unknown:
            raise ValueError(
                f"no machine is called {', '.join(unknown)}: there are {', '.join(self.machines)}"
            )
        if not all(0 <= share <= 1 for share in self.day) or max(self.day) == 0:
            raise ValueError("day holds shares of 0 to 1 by hour, not all of them 0")
        return self

    @classmethod
    def load(cls, path: Path = MACHINES) -> Self:
        """Raises `MachinesError`."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise MachinesError(f"{path} cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, ValidationError) as error:
            reason = describe_faults(error) if isinstance(error, ValidationError) else str(error)
            raise MachinesError(f"{path}: {reason}") from error

    def machine(self, name: str) -> Machine:
        """Raises `MachinesError` where there is none of that name."""
        if name not in self.machines:
            raise MachinesError(f"no machine is called {name}: there are {', '.join(self.machines)}")
        return self.machines[name]
