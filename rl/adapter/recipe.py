"""How an adapter is learnt: every hyper-parameter as a typed field, read from YAML (paper, 4.1.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from rl.adapter.network import AdapterArchitecture
from serving.reward import Xi


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Imitation(Recipe):
    """Cross-entropy with Optimal's choices, on the way that the policy itself takes."""

    steps: int = Field(default=0, ge=0)


class FullInformation(Recipe):
    """Ascends the exact expectation over all actions, sum over a of pi(a|s) r(s, a), of rewards that count at
    once (gamma 0, as Eq. 12 fits its critic)."""

    steps: int = Field(default=0, ge=0)
    objective: Literal["self-competition", "lagrangian"] = Field(
        default="self-competition",
        description="Eq. (7); or cost plus a price on failures that rises until they are rare enough",
    )
    failure: float = Field(
        default=0.04, gt=0, lt=1, description="failure rate that a Lagrangian's price aims at"
    )


class Ppo(Recipe):
    """RLlib's PPO."""

    steps: int = Field(default=0, ge=0, description="environment steps in all")
    redis: str | None = Field(
        default=None, description="URL of a Redis in which simulated cameras outlive a lost env runner"
    )
    failure: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="in place of Eq. (7): minus cost and a price on failures that aims at this rate",
    )
    end_to_end: bool = Field(
        default=False, description="the performance encoder learns on, through the reward, as in the paper"
    )
    gamma: float = Field(default=0.9, ge=0, lt=1)
    gae: float = Field(
        default=1.0, ge=0, le=1, description="lambda of generalised advantages; 1: plain returns"
    )
    clip: float = Field(default=0.2, gt=0)
    minibatch: int = Field(default=32, gt=0)
    epochs: int = Field(default=4, gt=0, description="passes over what was collected")
    learning_rate: float = Field(default=1e-4, gt=0)
    entropy: float = Field(default=0.01, ge=0)
    batch: int = Field(default=4096, gt=0, description="steps collected before learning")
    cameras: int = Field(default=64, gt=0, description="simulated in step by each env runner")
    env_runners: int = Field(default=0, ge=0, description="0: collected where it is learnt")
    learners: int = Field(default=0, ge=0, description="0: learnt in the driver")


class AdapterRecipe(Recipe):
    """Imitation, then the full-information gradient, then PPO; each may be left out."""

    name: str
    architecture: AdapterArchitecture = AdapterArchitecture()
    xi: Xi = "violations"
    extra_encode: bool = Field(
        default=False, description="CASVA-C: the size of one more encode in place of the embedding"
    )
    imitation: Imitation = Imitation()
    full_information: FullInformation = FullInformation()
    ppo: Ppo = Ppo()
    cameras: int = Field(default=256, gt=0, description="simulated in step, without PPO: one batch")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="of imitation and full information; falls to 0"
    )
    entropy: float = Field(default=0.01, ge=0, description="weight of the policy's entropy, in rewards")
    byte_coverage: float = Field(
        default=0.95, gt=0, lt=1, description="share of sizes that estimates and the mask's margin cover"
    )
    margin: float = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="on A, where no drives are left to choose it on (penance-evaluate adapter finds it)",
    )
    seed: int = 0
    seeds: int = Field(default=1, gt=0, description="trainings, from `seed` on; calibration drives choose")


def load_adapter_recipe(path: Path) -> AdapterRecipe:
    """Reads a recipe; `pydantic.ValidationError` says which field is wrong and why."""
    return AdapterRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
