"""Bring your own models: ONNX files and a YAML that names them become a sealed bundle (`docs/bundles.md`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Self

import onnx
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from clients.codec import CodecFlags, scaled_size
from clients.protocol import MAX_SIDE
from configs.bundle import BundleError, replaced_directory, write_manifest
from configs.faults import describe_faults
from configs.ladder import CompressionSpace, Ladder, VariantSpec, load_ladder
from configs.manifest import ClassName, Manifest, OnnxVariant, check_costs_fall, checked_classes
from serving.vss.onnx_network import OnnxNetwork

Side = Annotated[int, Field(ge=32, le=MAX_SIDE, multiple_of=2)]
Gflops = Annotated[float, Field(ge=1e-6, allow_inf_nan=False)]


class VariantModel(BaseModel):
    """One model of the family."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64)
    model: Path = Field(description="ONNX file, beside the YAML or absolute")
    gflops: Gflops | tuple[Gflops, ...] = Field(
        description="10^9 FLOPs of one frame, 2 per multiply-add: at scale 1.0, or at each scale"
    )


class FamilySpec(CompressionSpace):
    """What a family is, in one YAML file."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    classes: tuple[ClassName, ...] = Field(description="in the order of the models' outputs")
    frame: tuple[Side, Side] = Field((1280, 720), description="(width, height) that the GFLOPs are for")
    scales: tuple[float, ...] = Field(default_factory=lambda: load_ladder().scales, min_length=1)
    qps: tuple[int, ...] = Field(default_factory=lambda: load_ladder().qps)
    variants: tuple[VariantModel, ...] = Field(description="from the most expensive to the cheapest")

    @field_validator("classes")
    @classmethod
    def _classes_fit_a_byte(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        return checked_classes(classes)

    @model_validator(mode="after")
    def _makes_a_ladder(self) -> Self:
        for variant in self.variants:
            if isinstance(variant.gflops, tuple) and len(variant.gflops) != len(self.scales):
                raise ValueError(
                    f"variant {variant.name} has {len(variant.gflops)} gflops, expected one number, or one "
                    f"for each of the scales {self.scales}"
                )
        check_costs_fall([(variant.name, self.flops(variant)) for variant in self.variants])
        try:
            self.ladder()
        except ValidationError as error:
            raise ValueError(describe_faults(error)) from error
        return self

    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of a frame at each scale."""
        return [scaled_size(*self.frame, scale) for scale in self.scales]

    def flops(self, variant: VariantModel) -> tuple[int, ...]:
        """FLOPs of one frame at each scale; by area where only one number is known."""
        if isinstance(variant.gflops, tuple):
            return tuple(round(gflops * 1e9) for gflops in variant.gflops)
        width, height = self.frame
        return tuple(round(variant.gflops * 1e9 * w * h / (width * height)) for w, h in self.sizes())

    def ladder(self) -> Ladder:
        """The configuration space. Raises `ValueError`."""
        return Ladder(scales=self.scales, qps=self.qps, variants=tuple(map(self._rung, self.variants)))

    def _rung(self, variant: VariantModel) -> VariantSpec:
        dense = self.flops(self.variants[0])[0]
        return VariantSpec(name=variant.name, sparsity=1 - self.flops(variant)[0] / dense)


def load_spec(path: Path) -> FamilySpec:
    """Reads a family's YAML; models are found from its folder. Raises `BundleError`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        spec = FamilySpec.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise BundleError(f"{path} describes no family: {describe_faults(error)}") from error
    variants = tuple(v.model_copy(update={"model": path.parent / v.model}) for v in spec.variants)
    return spec.model_copy(update={"variants": variants})


def import_family(spec: FamilySpec, directory: Path) -> Manifest:
    """Checks and runs every model, then replaces `directory` by a sealed bundle. Raises `BundleError`."""
    for variant in spec.variants:
        _try_out(variant.model, spec)
    ladder = spec.ladder()
    with replaced_directory(directory) as partial:
        variants = []
        for number, (variant, rung) in enumerate(zip(spec.variants, ladder.variants, strict=True)):
            file = f"variant{number}.onnx"
            parameters = _copy_model(variant.model, partial / file)
            variants.append(
                OnnxVariant(
                    name=rung.name,
                    sparsity=rung.sparsity,
                    weights=file,
                    parameters=parameters,
                    flops=spec.flops(variant),
                )
            )
        return write_manifest(
            partial,
            {
                "name": spec.name,
                "frame": spec.frame,
                "ladder": ladder.model_dump(),
                "classes": spec.classes,
                "codec": CodecFlags().model_dump(),
                "variants": variants,
            },
        )


def _try_out(model: Path, spec: FamilySpec) -> None:
    """Checks a model's interface and runs it at every scale of the ladder. Raises `BundleError`."""
    network = OnnxNetwork(model, len(spec.classes))
    for width, height in spec.sizes():
        network.try_size(height, width)


def _copy_model(source: Path, target: Path) -> int:
    """Writes a model as one file, with weights that lay in files beside it, and counts its parameters."""
    model = onnx.load(source)
    onnx.save(model, target)
    shapes_and_indices = onnx.TensorProto.INT64
    return sum(math.prod(w.dims) for w in model.graph.initializer if w.data_type != shapes_and_indices)
