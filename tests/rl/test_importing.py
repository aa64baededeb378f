"""From ONNX files to a sealed bundle by `penance-train import`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from configs.bundle import Bundle, BundleError
from configs.ladder import load_ladder
from rl.cli import train
from rl.importing import FamilySpec, load_spec
from serving.vss.family import load_variant
from serving.vss.onnx_network import OnnxNetwork
from serving.vss.openvino_network import OpenVinoNetwork
from serving.vss.weights import load_network
from tests.onnx_models import CLASSES, write_family, write_model


def run(spec: Path, out: Path) -> str:
    """What the command says; it must have succeeded."""
    result = CliRunner().invoke(train, ["import", "--spec", str(spec), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    run(write_family(tmp_path), tmp_path / "bundle")
    return Bundle.load(tmp_path / "bundle")


def test_a_family_becomes_a_bundle(bundle: Bundle) -> None:
    assert bundle.id.startswith("blocks-")
    assert bundle.manifest.classes == CLASSES
    assert bundle.manifest.architecture is None
    assert [variant.flops for variant in bundle.manifest.variants] == [
        (2_000_000_000, 500_000_000),
        (500_000_000, 125_000_000),
    ]
    assert [spec.sparsity for spec in bundle.ladder.variants] == [0, 0.75]
    assert bundle.costs == (1, 0.25, 1, 0.25, 0.25, 0.0625, 0.25, 0.0625)
    assert [variant.parameters for variant in bundle.manifest.variants] == [81, 81]


def test_the_guides_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "bundles.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", guide, re.DOTALL))
    monkeypatch.chdir(tmp_path)
    exec(blocks["python"], {"__name__": "example"})
    Path("family.yaml").write_text(blocks["yaml"])
    out = run(Path("family.yaml"), Path("street"))
    bundle = Bundle.load(tmp_path / "street")
    assert bundle.id in out
    assert len(bundle.ladder) == 36
    frame = torch.zeros(1, 3, bundle.manifest.frame[1], bundle.manifest.frame[0], dtype=torch.uint8)
    for number, entry in enumerate(bundle.manifest.variants):
        assert load_variant(bundle, number)(frame).shape == (1, 3, 180, 320)
        width = (32, 8)[number]
        multiplies = 640 * 360 * 27 * width + 320 * 180 * (9 * width * width + 3 * width)
        assert entry.flops[0] == pytest.approx(2 * multiplies, rel=0.01)


def test_its_variants_load_like_those_of_any_bundle(bundle: Bundle) -> None:
    assert isinstance(load_variant(bundle, 1), OnnxNetwork)
    assert isinstance(load_variant(Bundle.load(), 4), OpenVinoNetwork)
    with pytest.raises(BundleError, match="variants 0 to 1, not 2"):
        load_variant(bundle, 2)
    with pytest.raises(BundleError, match="a model in onnx, expected weights in safetensors"):
        load_network(bundle, 0)


def test_the_same_files_make_the_same_bundle(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.id in run(tmp_path / "family.yaml", tmp_path / "again")


def test_weights_in_a_file_of_their_own_are_taken_along(tmp_path: Path) -> None:
    spec = write_family(tmp_path)
    model = onnx.load(tmp_path / "model0.onnx")
    onnx.save(
        model, tmp_path / "model0.onnx", save_as_external_data=True, location="model0.data", size_threshold=0
    )
    assert (tmp_path / "model0.data").exists()
    run(spec, tmp_path / "bundle")
    (tmp_path / "model0.data").unlink()
    load_variant(Bundle.load(tmp_path / "bundle"), 0)


def test_what_is_left_out_is_as_in_the_ladder_that_ships(tmp_path: Path) -> None:
    content = load_spec(write_family(tmp_path)).model_dump(exclude={"scales", "qps", "frame"})
    spec = FamilySpec.model_validate(content)
    assert spec.frame == (1280, 720)
    assert (spec.scales, spec.qps) == (load_ladder().scales, load_ladder().qps)


@given(
    gflops=st.lists(st.floats(0.01, 1000), min_size=2, max_size=9, unique_by=lambda x: round(x, 3)),
    scales=st.sets(st.sampled_from([0.9, 0.75, 0.6, 0.5, 0.25]), max_size=4),
)
def test_costs_by_area_fall_along_the_ladder(gflops: list[float], scales: set[float]) -> None:
    models = [
        {"name": str(number), "model": "x.onnx", "gflops": cost}
        for number, cost in enumerate(sorted(gflops, reverse=True))
    ]
    spec = FamilySpec.model_validate(
        {
            "name": "any",
            "classes": CLASSES,
            "scales": [1.0, *sorted(scales, reverse=True)],
            "variants": models,
        }
    )
    for model, rung in zip(spec.variants, spec.ladder().variants, strict=True):
        by_scale = spec.flops(model)
        assert list(by_scale) == sorted(set(by_scale), reverse=True)
        assert by_scale[0] == pytest.approx((1 - rung.sparsity) * spec.flops(spec.variants[0])[0])


def variants(*gflops: Any, model: str = "model0.onnx") -> dict[str, Any]:
    return {"variants": [{"name": str(n), "model": model, "gflops": g} for n, g in enumerate(gflops)]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (variants(2.0), "a family has 2 to 9 variants, found 1"),
        (variants(*range(10, 0, -1)), "a family has 2 to 9 variants, found 10"),
        (variants(), "a family has 2 to 9 variants, found 0"),
        (variants(1.0, 2.0), "cost must fall from variant to variant, but 1 takes"),
        (variants(2.0, 0.0), "variants.1.gflops"),
        (variants([2.0, 1.0, 0.5], 0.2), "variant 0 has 3 gflops, expected one number, or one for each"),
        (variants([2.0, 2.1], [1.0, 0.5]), "must not rise from scale to scale"),
        (variants(2.0, 1.0, model="nowhere.onnx"), "nowhere.onnx cannot be loaded"),
        ({"classes": ["a", "b"]}, "model0.onnx gives 3 classes, expected 2"),
        ({"classes": ["a", "a", "b"]}, "classes need names of their own"),
        ({"scales": [0.5, 1.0]}, "scales must start at 1.0"),
        ({"scales": []}, "scales"),
        ({"qps": [60]}, "QPs must rise strictly"),
        ({"frame": [1281, 720]}, "frame.0"),
        ({"name": "Mine!"}, "name"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    spec, out = write_family(tmp_path, **changes), tmp_path / "bundle"
    result = CliRunner().invoke(train, ["import", "--spec", str(spec), "--out", str(out)])
    assert result.exit_code == 1, result.output
    assert message in result.output
    assert result.output.startswith("penance-train: ")
    assert len(result.output.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("text", ["", "- a", "name: [", "\0"])
def test_a_yaml_that_describes_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "family.yaml").write_text(text)
    with pytest.raises(BundleError, match=r"family\.yaml"):
        load_spec(tmp_path / "family.yaml")


def test_a_model_that_breaks_the_interface_leaves_the_old_bundle(bundle: Bundle, tmp_path: Path) -> None:
    write_model(tmp_path / "model1.onnx", names=("image", "logits"))
    result = CliRunner().invoke(
        train, ["import", "--spec", str(tmp_path / "family.yaml"), "--out", str(bundle.directory)]
    )
    assert result.exit_code == 1
    assert "model1.onnx has the inputs 'image', expected one, named 'frames'" in result.output
    assert Bundle.load(bundle.directory).id == bundle.id
