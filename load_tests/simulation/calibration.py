"""What segments take, as measured on a running application: the numbers that the simulation stands on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.faults import describe_faults

CALIBRATION = Path(__file__).with_name("calibration.json")
"""The one that ships."""
ROLES = ("ingress", "variant", "decoder", "encoder", "proxy", "database", "cameras", "control")


class CalibrationError(ValueError):
    """A calibration is missing or damaged; the message says what to do."""


class ServedSegment(BaseModel):
    """One segment with the machine to itself, in seconds of wall-clock time by stage."""

    model_config = ConfigDict(frozen=True)

    scale: float
    variant: int
    size: int = Field(description="bytes of its body")
    decode: float
    infer: float
    hop: float = Field(description="to the variant's replica and back, messages included")
    embed: float = Field(description="the encoder, messages included")
    before: float = Field(description="from the camera's first byte to the lane")
    after: float = Field(description="from the lane to the camera's last byte, the commit included")

    @property
    def latency(self) -> float:
        return self.before + self.hop + self.decode + self.infer + self.embed + self.after


class Saturated(BaseModel):
    """A closed loop of so many cameras at one configuration: answers a second."""

    model_config = ConfigDict(frozen=True)

    scale: float
    qp: int
    variant: int
    cameras: int
    per_s: float

    @property
    def rung(self) -> str:
        return f"{self.scale:g}/{self.qp}/{self.variant}"


class Calibration(BaseModel):
    """Everything that was measured, and on what."""

    model_config = ConfigDict(frozen=True)

    processor: str
    bundle: str
    frame: str
    cores: int
    threads: int = Field(description="of a variant's network")
    alone: tuple[ServedSegment, ...]
    cpu_s: dict[str, float] = Field(description="processor-seconds a segment, by role, on average over all")
    saturated: tuple[Saturated, ...]
    capacity: float = Field(0.0, description="processors that share work; fitted to `saturated`")

    @classmethod
    def load(cls, path: Path = CALIBRATION) -> Self:
        """Raises `CalibrationError`."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CalibrationError(
                f"{path} cannot be read ({error.strerror}): make one with python -m load_tests.simulation "
                "calibrate"
            ) from error
        except ValidationError as error:
            raise CalibrationError(f"{path} is no calibration: {describe_faults(error)}") from error

    @cached_property
    def by_kind(self) -> dict[tuple[float, int], tuple[ServedSegment, ...]]:
        """Segments by (scale, variant)."""
        kinds = sorted({(served.scale, served.variant) for served in self.alone})
        return {
            kind: tuple(served for served in self.alone if (served.scale, served.variant) == kind)
            for kind in kinds
        }

    @cached_property
    def decoding(self) -> dict[float, tuple[float, float]]:
        """(seconds, seconds a byte) by scale: a line through what was measured."""
        found = {}
        for scale in sorted({served.scale for served in self.alone}):
            own = [served for served in self.alone if served.scale == scale]
            found[scale] = _line([served.size for served in own], [served.decode for served in own])
        return found

    def decode_s(self, scale: float, size: int) -> float:
        """Seconds that a segment of so many bytes is expected to be decoded in."""
        fixed, each = self.decoding[scale]
        return max(1e-4, fixed + each * size)


def _line(at: Sequence[int], values: Iterable[float]) -> tuple[float, float]:
    """Least squares; never falling, and through the mean where all sizes are the same."""
    x, y = np.array(at, np.float64), np.array(list(values))
    spread = float(((x - x.mean()) ** 2).sum())
    slope = 0.0 if spread == 0 else max(0.0, float(((x - x.mean()) * (y - y.mean())).sum()) / spread)
    return float(y.mean()) - slope * float(x.mean()), slope
