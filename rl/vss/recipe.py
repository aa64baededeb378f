"""Training recipes: every hyper-parameter of a family as a typed field, read from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.vss.architecture import Architecture

Scale = Annotated[float, Field(gt=0, le=1)]


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(Recipe):
    """One run of the optimiser: AdamW, linear warm-up, cosine to zero."""

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.02, ge=0)
    average_decay: float = Field(
        default=0.998, ge=0, lt=1, description="exponential moving average of the weights"
    )
    settled: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="share of the steps, at the end, in which batch norms use running statistics, as they "
        "do when serving: else crops at each scale are normalised by themselves, and agree in training alone",
    )


class Augmentation(Recipe):
    """What a training crop goes through, in this order; `*_share` is the share of crops it happens to."""

    zoom: float = Field(default=2.6, ge=1, description="largest zoom over the crop that just fits the frame")
    whole_share: float = Field(default=0.2, ge=0, le=1, description="not zoomed at all")
    aspect: float = Field(default=0.1, ge=0, lt=1)
    colour: float = Field(
        default=0.35, ge=0, lt=1, description="strength of gain, contrast, gamma and saturation"
    )
    exposure_share: float = Field(default=0.2, ge=0, le=1, description="far too bright, or far too dark")
    rescale_share: float = Field(
        default=0.3, ge=0, le=1, description="down to as little as 0.45 and up again"
    )
    blur_share: float = Field(default=0.1, ge=0, le=1)
    h264_share: float = Field(default=0.5, ge=0, le=1, description="a real x264 round trip")
    h264_qp: tuple[int, int] = (18, 34)
    noise_share: float = Field(default=0.15, ge=0, le=1)


class Losses(Recipe):
    """Weights of the parts of a loss, beside the cross entropy with labels, which has 1."""

    soft: float = Field(default=1.0, ge=0, description="cross entropy with soft labels")
    agreement: float = Field(default=1.0, ge=0, description="soft IoU with soft labels' likeliest classes")
    consistency: float = Field(
        default=0.0, ge=0, description="agreeing, at another of the recipe's scales, with one's own answer"
    )
    rarity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="classes weigh their inverse frequency to this power; more than 0 makes rare classes "
        "likelier than the soft labels say",
    )


class Teacher(Recipe):
    """Variant 0 after a first pass on labels alone; its soft labels for every frame teach the second."""

    schedule: Schedule
    frames_a_second: float = Field(default=1.0, gt=0, description="unlabelled frames taken from each clip")


class Shares(Recipe):
    """How often crops are drawn from each pool, relative to one another; pools without data count as 0."""

    camvid: float = Field(default=0.0, ge=0, description="CamVid's train split, true labels")
    streets: float = Field(default=0.0, ge=0, description="street clips with pseudo-labels")
    annotated: float = Field(default=0.0, ge=0, description="street clips with polygons drawn by hand")
    unlabelled: float = Field(default=0.0, ge=0, description="frames of clips, known to the teacher alone")
    bdd100k: float = Field(default=0.0, ge=0, description="BDD100K's 10k images, true labels")
    scene: float = Field(default=0.0, ge=0, description="the generated street, exact labels")


class Cut(Recipe):
    """Where one variant loses its FLOPs."""

    spared: float = Field(
        default=1.0,
        gt=0,
        description="the backbone keeps this many times the share of its channels that pyramid, head and "
        "merges keep of theirs",
    )
    blocks: tuple[Annotated[str, Field(pattern=r"^stage\d+\.[1-9]\d*$")], ...] = Field(
        default=(),
        description="inverted residual blocks that go altogether, as stage3.2: at few channels a block "
        "takes its time for being there, whatever its width",
    )
    target: float = Field(
        default=1.0, gt=0.9, lt=1.1, description="share of the FLOPs that the sparsity leaves"
    )


class Pruning(Recipe):
    """ACoSP: a soft top-k mask annealed to a hard one, then physical removal, then fine-tuning."""

    anneal: Schedule
    finetune: Schedule
    refine: dict[int, Schedule] = Field(
        default={}, description="by variant: how one that is kept from an earlier bundle learns on by itself"
    )
    temperature: tuple[float, float] = (1.0, 0.001)
    losses: Losses = Losses()
    crops: int = Field(gt=0, description="finished crops with variant 0's answers, which all variants share")
    channel_multiple: int = Field(default=4, ge=1, description="kept channels are a multiple of this")
    cuts: dict[int, Cut] = Field(default={}, description="by variant, where the usual cut is not wanted")

    def cut(self, variant: int) -> Cut:
        return self.cuts.get(variant, Cut())


class Mutual(Recipe):
    """All variants at once, each towards what the others say (`rl.vss.mutual`)."""

    dense: Schedule = Field(description="of variant 0")
    pruned: Schedule = Field(description="of the others, of as many steps")
    pull: float = Field(
        gt=0, description="how strongly variant 0 is drawn to what the pruned variants say together"
    )
    clean_share: float = Field(
        default=0.75, gt=0, le=1, description="of the crops are shown to variant 0 as sharp as they were"
    )
    remembered: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of what variant 0's weights were before in what they are in the end",
    )
    after: dict[int, Schedule] = Field(
        default={}, description="by variant: how it learns on by itself once variant 0 is what it will be"
    )

    @model_validator(mode="after")
    def _of_one_length(self) -> Mutual:
        if self.dense.steps != self.pruned.steps:
            raise ValueError(f"expected as many steps of both, got {self.dense.steps}, {self.pruned.steps}")
        return self


class FamilyRecipe(Recipe):
    """From data to five variants."""

    name: str
    architecture: Architecture
    crop: tuple[int, int] = Field(description="(height, width) that networks see, multiples of 32")
    oversampling: int = Field(
        default=1,
        ge=1,
        description="crops are degraded at this many times their size: where the architecture has a working "
        "size, cameras compress frames that are larger",
    )
    batch: int = Field(gt=0)
    shares: Shares
    losses: Losses = Field(default=Losses(consistency=1.0, rarity=0.5), description="of variant 0")
    validation_drives: tuple[str, ...] = Field(default=(), description="clips kept out of training")
    augmentation: Augmentation = Augmentation()
    scales: tuple[Scale, ...] = Field(
        default=(1.0, 0.75, 0.5),
        min_length=1,
        description="at one of which each batch is shown to variant 0 again",
    )
    pretrained: bool = Field(default=False, description="the backbone starts from ImageNet's weights")
    teacher: Teacher | None = Field(default=None, description="without one, labels alone teach variant 0")
    dense: Schedule = Field(description="variant 0")
    pruning: Pruning
    mutual: Mutual | None = Field(default=None, description="without it, pruning is the end")
    certainty: dict[int, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default={},
        description="by variant: classes that it is nowhere so sure of in a frame are not in it "
        "(`serving.vss.certainty`)",
    )
    seed: int = 0
    compile: bool = Field(
        default=True,
        description="torch.compile the step where it runs in float32; on CPUs up to six times faster",
    )
    loader_workers: int = Field(default=1, ge=0)

    def certainty_of(self, variant: int) -> float:
        """What classes need to be in a frame of this variant; 0: nothing."""
        return self.certainty.get(variant, 0.0)


def load_recipe(path: Path) -> FamilyRecipe:
    """Reads a recipe; `pydantic.ValidationError` says which field is wrong and why."""
    return FamilyRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
