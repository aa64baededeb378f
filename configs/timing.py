"""How long a segment is and how many frames a second it holds: `1s-15fps` (paper, Table 1)."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field


class SegmentTiming(BaseModel):
    """What a bitrate estimator is made for; slower video has fewer frames, never made-up ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(1.0, gt=0, le=10)
    fps: float = Field(15.0, gt=0, le=120)

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    def __str__(self) -> str:
        return f"{self.seconds:g}s-{self.fps:g}fps"

    @classmethod
    def parse(cls, text: str) -> SegmentTiming:
        """`1s-15fps` and the like. Raises `ValueError`."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s-(\d+(?:\.\d+)?)fps", text)
        if found is None:
            raise ValueError(f"{text!r} is no segment timing: give seconds and rate, like 1s-15fps")
        return cls(seconds=float(found[1]), fps=float(found[2]))


TIMINGS = (
    SegmentTiming(seconds=1, fps=15),
    SegmentTiming(seconds=1, fps=30),
    SegmentTiming(seconds=2, fps=15),
)
"""Those of the paper; the first is what cameras use by default."""
