"""Learning curves: what a policy comes to while it is learnt, kept for reports."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from rl.adapter.learning import Progress

KEEP_EVERY = 20
"""Steps without PPO, which is told of rarely enough."""


class CurveSample(BaseModel):
    """A phase's figures at one of its steps: `failure` and `cost` of sampled choices; of PPO, those of the
    policy at its best on the drives to check on, and `reward`."""

    model_config = ConfigDict(frozen=True)

    phase: str
    step: int
    figures: dict[str, float]


Curve = tuple[CurveSample, ...]


def keeping(samples: list[CurveSample], also: Progress) -> Progress:
    """Appends to `samples` what is told, and tells it on."""

    def told(phase: str, step: int, figures: dict[str, float]) -> None:
        if phase == "PPO" or step % KEEP_EVERY == 0:
            samples.append(CurveSample(phase=phase, step=step, figures=figures))
        also(phase, step, figures)

    return told
