"""How a performance encoder is learnt: every hyper-parameter as a typed field, read from YAML."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field


class EncoderRecipe(BaseModel):
    """From logits to an encoder with its accuracy head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    convolutions: bool = Field(default=True, description="the paper's blocks")
    expectations: bool = Field(default=False, description="what a softmax says of its own accuracy")
    steps: int = Field(default=2000, gt=0)
    batch: int = Field(default=16, gt=1)
    learning_rate: float = Field(default=1e-3, gt=0, description="of AdamW; falls to 0 by a cosine")
    weight_decay: float = Field(default=1e-3, ge=0)
    head_steps: int = Field(default=2000, gt=0, description="of the accuracy head, on finished embeddings")
    coverage: float = Field(default=0.9, gt=0, lt=1, description="share of accuracies within their interval")
    seed: int = 0


def load_encoder_recipe(path: Path) -> EncoderRecipe:
    """Reads a recipe; `pydantic.ValidationError` says which field is wrong and why."""
    return EncoderRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
