"""How a bitrate estimator is trained: every hyper-parameter as a typed field, read from YAML.

`bitrate-paper.yaml` is the paper's form, word for word; `bitrate.yaml` is what ships.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EstimatorArchitecture(Recipe):
    """Widths between the fixed points of the paper's network, and the form of its input and head.

    energies: beside the convolutions stand energies measured by hand, from which an anchor tells the bytes;
    the convolutions tell what it leaves. An addition to the paper's network (`rl.bitrate.energies`).
    differences: the first frame and, of each later one, its change since the frame before. It is the same
    input, but motion stands in it from the first layer on.
    head: `flat` gives all cells of the pool to the first FC layer, as the paper does; `additive` gives it
    each cell by itself and sums up, because a segment's bytes are the sum of its blocks' bytes, wherever
    they lie. With a thousand segments to learn from, places cannot be told from drives.
    """

    energies: bool = True
    differences: bool = True
    head: Literal["flat", "additive"] = "additive"
    first: int = Field(default=12, gt=0, description="channels after the first MobileNet block")
    inner: int = Field(default=12, gt=0, description="channels inside the second")
    second: int = Field(default=24, gt=0, description="channels after the second")
    hidden: int = Field(default=64, gt=0, description="width of the first FC layer; the features x")


class Passes(Recipe):
    """Passes over all segments; Adam with decoupled weight decay, cosine from one rate to the other."""

    epochs: int = Field(gt=0)
    learning_rate: tuple[float, float] = (1e-4, 1e-6)
    crop: float = Field(
        default=1.0,
        ge=0.2,
        le=1,
        description="share of both sides of the frame that is seen; with an additive head a part stands for "
        "the whole, and half of both sides costs a quarter",
    )


class BitrateRecipe(Recipe):
    """From sizes to an estimator."""

    name: str
    architecture: EstimatorArchitecture = EstimatorArchitecture()
    targets: Literal["plain", "log"] = Field(
        default="log",
        description="plain: Eq. (1), squared errors of megabytes and of ratios; log: of their logarithms",
    )
    loss: Literal["squared", "relative"] = Field(
        default="relative", description="relative: mean relative error over all settings, on bytes"
    )
    ridge: float = Field(
        default=0.01, gt=0, description="penalty on the anchor's weights, where there are energies"
    )
    passes: tuple[Passes, ...] = Field(
        default=(Passes(epochs=200),), min_length=1, description="over the segments, one after the other"
    )
    head_epochs: int = Field(
        default=0,
        ge=0,
        description="of both FC layers alone at the end, on whole frames as they are when serving: batch "
        "norms with running statistics, and what lies before the FC layers computed once",
    )
    head_rate: tuple[float, float] = (1e-3, 1e-5)
    batch: int = Field(default=32, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    mirror: bool = Field(default=True, description="half of the segments are mirrored left to right")
    seed: int = 0

    @model_validator(mode="after")
    def _only_additive_heads_see_parts(self) -> Self:
        if self.architecture.head == "flat" and any(part.crop < 1 for part in self.passes):
            raise ValueError("a flat head needs whole frames: leave crop at 1, or make the head additive")
        return self

    @model_validator(mode="after")
    def _anchors_are_logarithms(self) -> Self:
        if self.architecture.energies and self.targets == "plain":
            raise ValueError("energies tell logarithms of bytes: make targets log, or leave energies away")
        return self


def load_bitrate_recipe(path: Path) -> BitrateRecipe:
    """Reads a recipe; `pydantic.ValidationError` says which field is wrong and why."""
    return BitrateRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
