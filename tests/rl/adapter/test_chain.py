"""After a change of a bundle's networks one command makes anew whatever follows from them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from clients.adapter import AdapterPolicy
from configs.bundle import Bundle, write_manifest
from configs.manifest import Manifest
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.recipe import AdapterRecipe, Imitation
from rl.cli import train
from rl.profiles.index import ClipIndex, write_index
from tests.rl.adapter.test_export import ABOUT, QUICK

pytestmark = pytest.mark.slow
RECIPES = {
    "bitrate": QUICK,
    "encoder": EncoderRecipe(convolutions=False, expectations=True, steps=5, head_steps=5),
    "adapter": AdapterRecipe(
        name="few steps", architecture=ABOUT.architecture, cameras=32, imitation=Imitation(steps=3)
    ),
}


@pytest.fixture
def command(profile: Path, index: ClipIndex, family: Bundle, tmp_path: Path) -> list[str]:
    """The chain on a copy of the family; the profile is recorded, and its videos are gone."""
    shutil.copytree(family.directory, tmp_path / "bundle")
    few = ("street00", "street08", "street10")
    write_index(tmp_path / "clips.tsv", ClipIndex(clip for clip in index.clips if clip.name in few))
    command = ["chain", "--index", str(tmp_path / "clips.tsv"), "--profile", str(profile)]
    command += ["--out", str(tmp_path / "runs"), "--bundle", str(tmp_path / "bundle")]
    for name, recipe in RECIPES.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
        command += [f"--{name}", str(path)]
    return [*command, "--timing", "1s-15fps"]


def test_a_bundle_ends_with_all_that_its_cameras_need(
    command: list[str], family: Bundle, tmp_path: Path
) -> None:
    result = CliRunner().invoke(train, command)
    assert result.exit_code == 0, result.output
    made = Bundle.load(tmp_path / "bundle")
    assert made.family == family.family
    assert [str(entry.timing) for entry in made.manifest.estimators] == ["1s-15fps"]
    assert made.manifest.encoder
    assert made.manifest.policy is not None
    assert made.manifest.policy.recipe == "few steps"
    AdapterPolicy(made, made.ladder.configurations)  # a camera can run it
    assert {path.name for path in (tmp_path / "runs" / family.family).iterdir()} == {
        "bitrate",
        "encoder",
        "adapter",
    }


def test_outcomes_of_another_family_are_refused_in_a_sentence(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bundle" / "bundle.json"
    changed = Manifest.model_validate_json(path.read_text())
    fields = changed.model_dump(exclude={"id", "checksums", "format"})
    (tmp_path / "bundle" / "0.onnx").write_bytes(b"another network")
    path.unlink()
    write_manifest(tmp_path / "bundle", fields)
    result = CliRunner().invoke(train, command)
    assert result.exit_code == 1
    assert "holds no outcomes of" in " ".join(result.output.split())
