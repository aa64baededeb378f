"""The content of `bundle.json`, typed and checked.

A variant is a file and what it costs. What kind of file it is says its `format`: weights of our own
networks, whose architecture then stands beside, or an ONNX model, of which nothing more is known.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from configs.ladder import Ladder
from configs.timing import SegmentTiming

FORMAT = 1
MOST_CLASSES = 255
"""Class ids travel in one byte."""

Flops = Annotated[int, Field(gt=0)]
ClassName = Annotated[str, Field(min_length=1, max_length=64)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sparsity: float
    weights: str = Field(description="file inside the bundle")
    parameters: int = Field(ge=0)
    flops: tuple[Flops, ...] = Field(description="FLOPs of one frame at each scale of the ladder")


class SafetensorsVariant(_Entry):
    """Weights of one of our own networks (`serving.vss.pspnet`)."""

    format: Literal["safetensors"] = "safetensors"
    channels: dict[str, int] = Field(description="channels of every group after physical removal")
    certainty: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="what a class needs to be in a frame (`serving.vss.certainty`)",
    )


class OnnxVariant(_Entry):
    """A network of any design, as one self-contained ONNX file (`docs/bundles.md` has the interface)."""

    format: Literal["onnx"] = "onnx"


def _format(entry: Any) -> Any:
    """Bundles from before there were formats hold weights of our own networks."""
    if isinstance(entry, dict):
        return entry.get("format", "safetensors")
    return getattr(entry, "format", None)


Variant = Annotated[
    Annotated[SafetensorsVariant, Tag("safetensors")] | Annotated[OnnxVariant, Tag("onnx")],
    Discriminator(
        _format,
        custom_error_type="format",
        custom_error_message='the format of a variant is "safetensors" or "onnx"',
    ),
]


class EstimatorEntry(BaseModel):
    """A bitrate estimator for segments of one timing (`clients.bitrate`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timing: SegmentTiming
    model: str = Field(description="ONNX file inside the bundle")
    calibration: str = Field(description="JSON file inside the bundle")


class PolicyEntry(BaseModel):
    """A policy (`clients.adapter`) for segments of one timing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timing: SegmentTiming
    model: str = Field(description="ONNX file inside the bundle: states to a value of every configuration")
    embedding: int = Field(ge=0, description="values of the embedding that it was trained on; 0: none")
    margin: float = Field(ge=-1, le=1, description="by which the target is raised before it is told")
    recipe: str


class Manifest(BaseModel):
    """Everything that a bundle says about itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    id: str
    name: str
    frame: tuple[int, int] = Field(
        description="(width, height) at scale 1.0 for which the FLOPs were counted"
    )
    ladder: Ladder
    classes: tuple[ClassName, ...]
    codec: dict[str, Any] = Field(description="flags of clients.codec.CodecFlags")
    architecture: dict[str, Any] | None = Field(
        None, description="fields of serving.vss.pspnet.Architecture; none where all variants are ONNX"
    )
    variants: tuple[Variant, ...]
    encoder: str | None = Field(
        None, description="weights of the trained performance encoder, if there is one"
    )
    accuracy_head: str | None = Field(
        None, description="weights of the head that predicts accuracies from embeddings, if there is one"
    )
    policy: PolicyEntry | None = Field(None, description="what cameras choose configurations by")
    estimators: tuple[EstimatorEntry, ...] = Field((), description="bitrate estimators, one a timing")
    figures: dict[str, Any] = Field(
        default_factory=dict, description="what was measured, as in the model card"
    )
    checksums: dict[str, str] = Field(description="SHA-256 of every other file in the bundle")

    def estimator(self, timing: SegmentTiming) -> EstimatorEntry | None:
        """That for segments of this timing, where there is one."""
        return next((entry for entry in self.estimators if entry.timing == timing), None)

    @property
    def camera_files(self) -> tuple[str, ...]:
        """What a camera needs of the bundle's files."""
        estimators = (file for entry in self.estimators for file in (entry.model, entry.calibration))
        return (*((self.policy.model,) if self.policy else ()), *estimators)

    @field_validator("classes")
    @classmethod
    def _classes_fit_a_byte(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return checked_classes(classes)

    @model_validator(mode="after")
    def _every_variant_is_on_the_ladder(self) -> Self:
        rungs, held = [v.name for v in self.ladder.variants], [v.name for v in self.variants]
        if rungs != held:
            raise ValueError(f"the ladder's variants are {rungs}, the bundle's {held}: they must be the same")
        for variant in self.variants:
            if len(variant.flops) != len(self.ladder.scales):
                raise ValueError(
                    f"variant {variant.name} has FLOPs for {len(variant.flops)} scales, the ladder has "
                    f"{len(self.ladder.scales)}: give one number for each scale"
                )
        return self

    @model_validator(mode="after")
    def _costs_fall(self) -> Self:
        check_costs_fall([(variant.name, variant.flops) for variant in self.variants])
        return self

    @model_validator(mode="after")
    def _only_our_networks_have_an_architecture(self) -> Self:
        ours = any(isinstance(variant, SafetensorsVariant) for variant in self.variants)
        if ours and self.architecture is None:
            raise ValueError("weights in safetensors need the architecture that they belong to")
        if not ours and self.architecture is not None:
            raise ValueError("no variant is in safetensors, so there is nothing that has an architecture")
        return self

    @model_validator(mode="after")
    def _every_file_has_a_checksum(self) -> Self:
        named = [variant.weights for variant in self.variants]
        named += [file for file in (self.encoder, self.accuracy_head) if file is not None]
        named += self.camera_files
        missing = [file for file in named if file not in self.checksums]
        if missing:
            raise ValueError(f"no checksums of {', '.join(missing)}: files must lie in the bundle's folder")
        return self


def checked_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The classes, if there are 2 to 255 and none twice; else `ValueError`."""
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ValueError(f"a family has 2 to {MOST_CLASSES} classes, found {len(classes)}")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise ValueError(f"classes need names of their own, found more than once: {', '.join(twice)}")
    return classes


def check_costs_fall(variants: list[tuple[str, tuple[int, ...]]]) -> None:
    """`ValueError` unless FLOPs fall from variant to variant and never rise from scale to scale: what lies
    first on the ladder is the most expensive. Each variant comes with its name and its FLOPs by scale."""
    for name, flops in variants:
        if any(small > large for large, small in pairwise(flops)):
            raise ValueError(
                f"the cost of variant {name} must not rise from scale to scale, found {flops} FLOPs"
            )
    for (larger, above), (smaller, below) in pairwise(variants):
        if any(b >= a for a, b in zip(above, below, strict=False)):
            raise ValueError(
                f"cost must fall from variant to variant, but {smaller} takes {below} FLOPs by scale and "
                f"{larger} before it {above}: order variants from the most expensive to the cheapest"
            )
