"""The performance encoder's training: embeddings that lie where they belong, and an accuracy head that
learns."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from configs.bundle import Bundle
from rl.adapter.encoder import (
    EncoderRecipe,
    Shown,
    accuracy_errors,
    embed_all,
    train_accuracy_head,
    train_encoder,
)
from rl.adapter.replay import Replay
from rl.adapter.runs import ADVANTAGE, EMBEDDINGS, PREDICTED, with_embeddings_of, write_rows
from rl.adapter.softmaxes import Softmaxes
from rl.profiles.store import ProfileError
from serving.performance.expectations import expectations
from serving.performance.network import INPUT_SIZE, AccuracyHead, make_encoder
from tests.rl.adapter.conftest import CLASSES, of_split

RECIPE = EncoderRecipe(steps=2, batch=2, head_steps=100)


@pytest.fixture(scope="module")
def few(bare_replay: Replay) -> Replay:
    """Three segments of one clip."""
    return bare_replay.of(np.arange(len(bare_replay)) < 3)


@pytest.fixture(scope="module")
def softmaxes(profile: Path, family: Bundle, bare_replay: Replay) -> Softmaxes:
    return Softmaxes(profile, family.family, sorted(set(bare_replay.clips)))


def expected(softmaxes: Softmaxes, replay: Replay) -> NDArray[np.float16]:
    every = range(len(replay.ladder))
    rows = [[expectations(softmaxes.batch([row], [one]))[0] for one in every] for row in range(len(replay))]
    return torch.stack([torch.stack(row) for row in rows]).half().numpy()


def test_an_encoder_sees_the_softmax_of_a_row_and_a_configuration(softmaxes: Softmaxes) -> None:
    seen = softmaxes.batch([0, 0], [0, 89])
    assert seen.shape == (2, CLASSES, *INPUT_SIZE)
    torch.testing.assert_close(seen.sum(1), torch.ones(2, *INPUT_SIZE))
    assert softmaxes.confidence(0, 0) > softmaxes.confidence(0, 89)


def test_another_process_maps_the_same_file_again(softmaxes: Softmaxes) -> None:
    pickled = pickle.dumps(softmaxes)
    assert len(pickled) < 10_000
    torch.testing.assert_close(pickle.loads(pickled).batch([1], [7]), softmaxes.batch([1], [7]))


@pytest.mark.parametrize("convolutions", [True, False])
def test_training_is_the_same_for_the_same_recipe(
    softmaxes: Softmaxes, few: Replay, convolutions: bool
) -> None:
    recipe = RECIPE.model_copy(update={"convolutions": convolutions, "expectations": True})
    shown = Shown(CLASSES, softmaxes, expected(softmaxes, few))
    first, second = (train_encoder(shown, few, np.arange(3), recipe) for _ in range(2))
    weights = [encoder.state_dict() for encoder in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_embeddings_are_mapped_back_to_the_segments_that_they_are_of(
    softmaxes: Softmaxes, few: Replay, family: Bundle, tmp_path: Path
) -> None:
    encoder = make_encoder(CLASSES)
    embed_all(encoder, Shown(CLASSES, softmaxes), 3, 2, tmp_path / EMBEDDINGS)
    write_rows(tmp_path, few, family.family)
    np.save(tmp_path / PREDICTED, few.known.miou.astype(np.float16))
    np.save(tmp_path / ADVANTAGE, np.full(len(few.ladder), 0.05))
    found = with_embeddings_of(few, tmp_path, family.family)
    mapped = found.embeddings
    np.testing.assert_array_equal(found.predicted, few.known.miou.astype(np.float16))
    assert (found.advantage == 0.05).all()
    with torch.inference_mode():
        expected = encoder(softmaxes.batch([2], [1]))[0].half().numpy()
    np.testing.assert_array_equal(mapped[2, 1], expected)
    with pytest.raises(ProfileError, match="run penance-train encoder"):
        with_embeddings_of(few, tmp_path, "another-0123456789ab")


def test_the_head_tells_accuracies_from_embeddings_that_hold_them(
    replay: Replay, softmaxes: Softmaxes
) -> None:
    drives = replay.drives
    learn, check, judged = (
        np.flatnonzero(np.isin(drives, np.unique(of_split(replay, split).drives)))
        for split in ("train", "val", "test")
    )
    wide = np.zeros((*replay.embeddings.shape[:2], 120), np.float16)
    wide[:, :, :4] = replay.embeddings
    embedded = replay.with_embeddings(wide)
    recipe = EncoderRecipe(head_steps=300, learning_rate=1e-2)
    head = train_accuracy_head(embedded, learn, check, recipe)
    errors = accuracy_errors(head, embedded, Shown(CLASSES, softmaxes), learn, judged[:5])
    assert errors.head < 0.06
    assert errors.covered > 0.7


def test_an_interval_holds_its_middle() -> None:
    head = AccuracyHead(90)
    lower, middle, upper = head(torch.randn(7, 120), torch.arange(7)).unbind(1)
    assert (lower <= middle).all()
    assert (middle <= upper).all()
