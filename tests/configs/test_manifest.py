"""What a manifest may say: kinds of variants, costs that fall, classes, files with checksums."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.bundle import DEFAULT_BUNDLE, MANIFEST
from configs.faults import describe_faults
from configs.manifest import Manifest, OnnxVariant, SafetensorsVariant

SHIPPED: dict[str, Any] = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text(encoding="utf-8"))


def foreign(count: int = 3, classes: int | list[str] = 4, **changes: Any) -> dict[str, Any]:
    """A manifest of ONNX variants, two scales."""
    names = [f"model{number}" for number in range(count)]
    flops = [[100 * (count - number), 25 * (count - number)] for number in range(count)]
    sparsities = [number / count for number in range(count)]
    content: dict[str, Any] = {
        "id": "blocks-0",
        "name": "blocks",
        "frame": [320, 180],
        "ladder": {
            "scales": [1.0, 0.5],
            "qps": [24, 30],
            "variants": [{"name": n, "sparsity": s} for n, s in zip(names, sparsities, strict=True)],
        },
        "classes": [str(c) for c in range(classes)] if isinstance(classes, int) else classes,
        "codec": {},
        "variants": [
            {
                "format": "onnx",
                "name": name,
                "sparsity": sparsities[number],
                "weights": f"{name}.onnx",
                "parameters": 10,
                "flops": flops[number],
            }
            for number, name in enumerate(names)
        ],
        "checksums": {f"{name}.onnx": "0" * 64 for name in names},
    }
    return content | changes


def refusal(content: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as error:
        Manifest.model_validate(content)
    return describe_faults(error.value)


def test_variants_without_a_format_are_our_own() -> None:
    bare = [{k: v for k, v in entry.items() if k != "format"} for entry in SHIPPED["variants"]]
    manifest = Manifest.model_validate(SHIPPED | {"variants": bare})
    assert all(isinstance(variant, SafetensorsVariant) for variant in manifest.variants)


@given(st.integers(2, 9), st.integers(2, 255))
def test_two_to_nine_models_with_any_classes_make_a_family(count: int, classes: int) -> None:
    manifest = Manifest.model_validate(foreign(count, classes))
    assert all(isinstance(variant, OnnxVariant) for variant in manifest.variants)
    assert len(manifest.ladder) == 2 * 2 * count
    assert Manifest.model_validate(manifest.model_dump(mode="json")) == manifest


@pytest.mark.parametrize("count", [0, 1, 10])
def test_other_numbers_of_variants_are_refused(count: int) -> None:
    assert f"a family has 2 to 9 variants, found {count}" in refusal(foreign(count))


def changed(number: int, **changes: Any) -> dict[str, Any]:
    content = foreign()
    content["variants"][number] |= changes
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (foreign(classes=1), "2 to 255 classes, found 1"),
        (foreign(classes=256), "2 to 255 classes, found 256"),
        (foreign(classes=["road", "road"]), "more than once: road"),
        (foreign(classes=["road", ""]), "classes.1: "),
        (foreign(architecture={"classes": 4}), "no variant is in safetensors"),
        (foreign(checksums={}), "no checksums of model0.onnx"),
        (changed(1, format="tflite"), 'the format of a variant is "safetensors" or "onnx"'),
        (changed(1, channels={"stem": 4}), "variants.1.onnx.channels"),
        (changed(1, name="other"), "they must be the same"),
        (changed(1, flops=[200]), "FLOPs for 1 scales, the ladder has 2"),
        (changed(1, flops=[300, 50]), "cost must fall from variant to variant, but model1 takes"),
        (changed(0, flops=[300, 301]), "cost of variant model0 must not rise from scale to scale"),
        (changed(2, flops=[0, 0]), "variants.2.onnx.flops"),
        (SHIPPED | {"architecture": None}, "weights in safetensors need the architecture"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_a_sentence(
    content: dict[str, Any], message: str
) -> None:
    assert message in refusal(content)
