"""What is learnt from drives that the family was trained on is what would have been seen elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rl.adapter.evaluation import drive_folds, split_fold
from rl.adapter.familiarity import FRAME, advantages
from rl.adapter.replay import Replay
from rl.profiles.index import ClipIndex
from tests.rl.adapter.conftest import DRIVES

VARIANTS = np.array([0, 1, 2, 0, 1, 2])
TRUE = np.array([0.0, 0.05, 0.1])


def made_up(familiar: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Expectations, and accuracies that follow them but for an advantage on familiar segments."""
    rng = np.random.default_rng(seed)
    expected = rng.uniform(0.4, 0.9, (len(familiar), len(VARIANTS), FRAME + 3))
    expected += 0.05 * familiar[:, None, None]  # they look better, too
    noise = 0.01 * rng.standard_normal(expected.shape[:2])
    miou = 0.2 + 0.6 * expected[..., 0] - 0.05 * VARIANTS + noise
    return expected, miou + familiar[:, None] * TRUE[VARIANTS]


def test_a_variants_advantage_is_told_from_what_its_softmax_says() -> None:
    familiar = np.arange(400) % 2 == 0
    expected, miou = made_up(familiar)
    found = advantages(expected, miou, VARIANTS, familiar)
    np.testing.assert_allclose(found, TRUE[VARIANTS], atol=0.02)


@pytest.mark.parametrize("familiar", [True, False])
def test_without_both_kinds_of_drives_there_is_none(familiar: bool) -> None:
    all_alike = np.full(20, familiar)
    assert not advantages(*made_up(all_alike), VARIANTS, all_alike).any()


def test_only_familiar_drives_are_changed_and_only_to_learn_from(replay: Replay) -> None:
    favoured = replace(replay, advantage=np.full(len(replay.ladder), 0.1))
    learnt = favoured.to_learn_from()
    changed = (learnt.known.miou != favoured.known.miou).any(1)
    np.testing.assert_array_equal(changed, favoured.familiar)
    for fold in drive_folds(favoured, 2, lambda number, whole: whole):
        assert not fold.judged.familiar.any()
        np.testing.assert_array_equal(fold.judged.known.miou, favoured.known.miou[fold.rows])


def test_test_drives_are_judged_by_what_learnt_from_train_alone(replay: Replay, index: ClipIndex) -> None:
    fold = split_fold(replay, index)
    assert {DRIVES[drive] for drive in fold.learn.drives} == {"train"}
    assert fold.check is not None
    assert {DRIVES[drive] for drive in fold.check.drives} == {"val"}
    assert {DRIVES[drive] for drive in fold.judged.drives} == {"test"}
