"""A digest stands in for the folder that it was made of: the same segments and learning, no pictures."""

from __future__ import annotations

from dataclasses import fields
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import configs
from configs.bundle import DEFAULT_BUNDLE, Bundle
from rl.adapter.commands import evaluate_adapters
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.runs import fold_folder
from rl.adapter.training import ENCODER, digest_profile, train_encoders
from rl.profiles.index import ClipIndex
from rl.profiles.store import ProfileError
from tests.rl.adapter.conftest import DRIVES, SEGMENTS

RECIPE = EncoderRecipe(convolutions=False, expectations=True, steps=3, batch=4, head_steps=20)
SHIPPED = Bundle.load(DEFAULT_BUNDLE)
QUIET = Console(file=StringIO())


@pytest.fixture(scope="module")
def digest(profile: Path, index: ClipIndex, family: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digest") / "streets.parquet"
    assert digest_profile(profile, index, family, path, QUIET) == len(DRIVES) * SEGMENTS
    return path


def test_it_holds_the_segments_of_the_folder(
    digest: Path, profile: Path, index: ClipIndex, family: Bundle
) -> None:
    folder, found = (Recorded.load(path, index, family).replay for path in (profile, digest))
    for field in fields(folder):
        ours, theirs = getattr(found, field.name), getattr(folder, field.name)
        if field.name == "known":
            np.testing.assert_array_equal(ours.bytes, theirs.bytes)
            np.testing.assert_array_equal(ours.miou, theirs.miou)
        elif isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        else:
            assert np.all(ours == theirs), field.name


def test_the_one_that_ships_is_of_the_bundle_that_ships() -> None:
    found = Recorded.load(Path(configs.__file__).with_name("profiles") / "streets.parquet", None, SHIPPED)
    assert set(found.replay.kinds) == {"real"}
    splits = {clip.split for clip in found.known_index.clips}
    assert {"train", "val", "test"} <= splits
    assert found.replay.features.shape[1]


def test_it_knows_what_its_drives_are_for(digest: Path, family: Bundle) -> None:
    found = Recorded.load(digest, None, family)
    assert {clip.drive: clip.split for clip in found.known_index.clips} == DRIVES


def test_encoders_learn_from_it_what_they_learn_from_the_folder(
    digest: Path, profile: Path, index: ClipIndex, family: Bundle, tmp_path: Path
) -> None:
    learnt = []
    for name, path in (("folder", profile), ("digest", digest)):
        train_encoders(Recorded.load(path, index, family), family, RECIPE, 2, tmp_path / name, QUIET)
        learnt.append(load_file(fold_folder(tmp_path / name, 0, 2) / ENCODER))
    assert all(torch.equal(value, learnt[1][name]) for name, value in learnt[0].items())
    report = evaluate_adapters(
        Recorded.load(digest, None, family), family, [], [], [], tmp_path / "digest", 2, 1, QUIET
    )
    assert report.methods["Optimal"].flops_over_optimal == 0


def test_there_is_no_picture_in_it(digest: Path, family: Bundle, tmp_path: Path) -> None:
    assert not {"luma", "logit_gradients"} & set(pq.read_schema(digest).names)
    paper = EncoderRecipe(steps=1, batch=2)
    with pytest.raises(ValueError, match="look at whole softmaxes, a digest has none"):
        train_encoders(Recorded.load(digest, None, family), family, paper, 0, tmp_path, QUIET)


def test_another_family_is_refused(digest: Path, family: Bundle) -> None:
    other = Bundle(family.directory, family.manifest.model_copy(update={"name": "other"}))
    with pytest.raises(ProfileError, match=r"is a digest of made-up-.*penance-profile digest"):
        Recorded.load(digest, None, other)


def test_what_is_no_digest_is_refused(family: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no columns here")
    with pytest.raises(ProfileError, match="neither a profile's folder nor a digest"):
        Recorded.load(tmp_path / "x", None, family)
