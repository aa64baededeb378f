"""Bundles: whole, unchanged, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from configs.bundle import (
    DEFAULT_BUNDLE,
    MANIFEST,
    Bundle,
    BundleError,
    replaced_directory,
    write_manifest,
)

LIMIT = 15 * 2**20


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


def test_the_bundle_that_ships_is_whole_and_small() -> None:
    bundle = Bundle.load()
    assert bundle.id.startswith("lite-")
    assert len(bundle.manifest.variants) == 5
    assert sum(file.stat().st_size for file in DEFAULT_BUNDLE.iterdir()) <= LIMIT


def test_costs_are_those_of_the_ladder_and_qp_is_free() -> None:
    bundle = Bundle.load()
    assert len(bundle.costs) == 90
    assert bundle.costs[0] == 1.0 == max(bundle.costs)
    assert len(set(bundle.costs)) == 5  # and scale is, where frames are brought to one working size
    for configuration in bundle.ladder.rungs():
        same = bundle.ladder.index(configuration.scale, 20, configuration.variant)
        assert bundle.costs[configuration.index] == bundle.costs[same]


def test_every_sparsity_costs_what_it_says_within_a_tenth() -> None:
    variants = Bundle.load().manifest.variants
    for variant in variants:
        share = variant.flops[0] / variants[0].flops[0]
        assert share == pytest.approx(1 - variant.sparsity, rel=0.1)


def test_the_model_card_names_data_and_licences() -> None:
    card = (DEFAULT_BUNDLE / "README.md").read_text(encoding="utf-8")
    for word in ("CamVid", "CC BY-NC 4.0", "ESPNetv2", "licen"):
        assert word in card


def test_a_changed_file_is_refused(copy: Path) -> None:
    weights = copy / Bundle.load(copy).manifest.variants[0].weights
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(BundleError, match="checksum"):
        Bundle.load(copy)


def test_a_missing_file_is_refused(copy: Path) -> None:
    (copy / Bundle.load(copy).manifest.variants[2].weights).unlink()
    with pytest.raises(BundleError, match="lacks"):
        Bundle.load(copy)


def test_a_changed_manifest_is_refused(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    content["variants"][0]["flops"][0] //= 2
    (copy / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(BundleError, match="changed"):
        Bundle.load(copy)


def test_another_format_is_refused(copy: Path) -> None:
    content = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(BundleError, match="format 99"):
        Bundle.load(copy)


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}'])
def test_a_manifest_that_is_none_is_said_so(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=str(tmp_path)):
        Bundle.load(tmp_path)


def test_sealing_again_says_of_every_variant_what_it_is(copy: Path) -> None:
    fields = json.loads((copy / MANIFEST).read_text())
    manifest = write_manifest(copy, {k: v for k, v in fields.items() if k not in ("id", "checksums")})
    assert Bundle.load(copy).id == manifest.id
    assert {v["format"] for v in json.loads((copy / MANIFEST).read_text())["variants"]} == {"safetensors"}
    with pytest.raises(BundleError, match="frame"):
        write_manifest(copy, {**fields, "frame": "large"})


def test_a_bundle_is_replaced_whole_or_not_at_all(copy: Path) -> None:
    with pytest.raises(RuntimeError), replaced_directory(copy) as partial:  # noqa: PT012
        (partial / "half").write_text("")
        raise RuntimeError
    assert Bundle.load(copy).id == Bundle.load().id
    with replaced_directory(copy) as partial:
        (partial / "whole").write_text("")
    assert [file.name for file in copy.iterdir()] == ["whole"]
    assert list(copy.parent.iterdir()) == [copy]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("")
    with pytest.raises(BundleError, match="no bundle"), replaced_directory(tmp_path):
        pass
    assert (tmp_path / "diary.txt").exists()


def test_a_folder_without_a_bundle_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no"):
        Bundle.load(tmp_path)
