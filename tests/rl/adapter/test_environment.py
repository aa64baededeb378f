"""`Penance-v0`: gymnasium's contract, the same run for the same seed, the drop rule, and answers that come
late."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from clients.state import NONE
from configs.bundle import Bundle
from rl.adapter.environment import AVERAGES, BANDWIDTHS, TARGETS, PenanceEnv, PenanceVectorEnv, begin_episodes
from rl.adapter.fleet import Fleet, Lags
from rl.adapter.replay import Replay, load_replay
from rl.profiles.store import ProfileError
from tests.rl.adapter.conftest import SEGMENTS

PROMPT = Lags()
RNG = np.random.default_rng


def everyone(fleet: Fleet) -> np.ndarray:
    return np.ones(fleet.cameras, np.bool_)


@pytest.fixture
def fleet(replay: Replay) -> Fleet:
    """One camera a clip, from its start, at a bandwidth that everything fits."""
    return Fleet.over_runs(replay, np.array([0.65]), np.array([100.0]), PROMPT)


def test_it_keeps_gymnasiums_contract(replay: Replay) -> None:
    check_env(PenanceEnv(replay), skip_render_check=True)


def test_it_is_registered_alone_and_in_step(replay: Replay) -> None:
    assert gymnasium.make("Penance-v0", replay=replay).reset(seed=0)[0].shape == (
        replay.layout.width + AVERAGES,
    )
    many = gymnasium.make_vec(
        "Penance-v0", num_envs=5, vectorization_mode="vector_entry_point", replay=replay
    )
    assert many.reset(seed=0)[0].shape == (5, replay.layout.width + AVERAGES)


def test_the_same_seed_gives_the_same_run(replay: Replay) -> None:
    runs = []
    for _ in range(2):
        env, rng = PenanceVectorEnv(replay, 8), RNG(1)
        states = [env.reset(seed=7)[0]]
        for _ in range(60):
            state, earned, *_ = env.step(rng.integers(90, size=8))
            states += [state, earned]
        runs.append(np.concatenate([part.ravel() for part in states]))
    np.testing.assert_array_equal(*runs)


def test_constraints_are_drawn_as_in_the_paper(replay: Replay) -> None:
    fleet = Fleet(replay, 4000, RNG(0), PROMPT)
    begin_episodes(fleet, everyone(fleet))
    assert set(fleet.target) == set(TARGETS)
    low, high = BANDWIDTHS
    assert low <= fleet.bandwidth.min() < low + 0.01
    assert high - 0.01 < fleet.bandwidth.max() <= high


def test_episodes_end_with_their_clip_and_begin_anew(replay: Replay) -> None:
    env = PenanceVectorEnv(replay, 4)
    env.reset(seed=0)
    lengths = [env.step(np.zeros(4, np.int64))[3].all() for _ in range(SEGMENTS)]
    assert lengths == [False] * (SEGMENTS - 1) + [True]
    _, earned, _, over, _ = env.step(np.zeros(4, np.int64))
    assert not earned.any()
    assert not over.any()


def test_a_price_on_failures_rises_while_they_are_too_many_and_falls_while_they_are_few(
    replay: Replay,
) -> None:
    env = PenanceVectorEnv(replay, 64, failure=0.2)
    env.reset(seed=0)
    smallest = np.full(64, len(replay.ladder) - 1)
    failing = [env.step(smallest)[1].min() for _ in range(10)]
    assert (np.diff(failing) < 0).all()  # each failure costs more than the one before
    safe = np.array([env.step(np.zeros(64, np.int64))[1] for _ in range(3)])
    assert safe.max() == -1  # the most expensive that holds costs itself


def test_a_segment_that_does_not_fit_is_dropped_and_never_answered(replay: Replay) -> None:
    fleet = Fleet.over_runs(replay, np.array([0.65]), np.array([1e-3]), PROMPT)
    fleet.look()
    fleet.choose(np.zeros(fleet.cameras, np.int64), fleet.outcomes())
    assert fleet.averages.deficit == pytest.approx(0.2 * 0.65)
    assert (fleet.look().seen.made_by == NONE).all()


def test_an_answer_comes_with_what_made_it(fleet: Fleet, replay: Replay) -> None:
    first = fleet.look()
    assert (first.seen.age == 0).all()
    choices = np.arange(fleet.cameras)
    fleet.choose(choices, fleet.outcomes())
    seen = fleet.look().seen
    np.testing.assert_array_equal(seen.made_by, choices)
    assert (seen.age == 1).all()
    np.testing.assert_array_equal(seen.embedding, replay.embeddings[first.rows, choices].astype(np.float32))


def test_late_answers_have_an_age_and_newer_ones_replace_them(replay: Replay) -> None:
    fleet = Fleet.over_runs(replay, np.array([0.65]), np.array([100.0]), Lags((0.0, 0.0, 1.0)))
    ages = []
    for step in range(6):
        seen = fleet.look().seen
        ages.append(int(seen.age[0]))
        assert seen.made_by[0] == (step - 3 if step >= 3 else NONE)
        fleet.choose(np.full(fleet.cameras, step), fleet.outcomes())
    assert ages == [0, 0, 0, 3, 3, 3]


def test_lost_answers_age_the_last_one(replay: Replay) -> None:
    fleet = Fleet.over_runs(replay, np.array([0.65]), np.array([100.0]), Lags(lost=0.5))
    ages = []
    for _ in range(12):
        ages.append(fleet.look().seen.age)
        fleet.choose(np.zeros(fleet.cameras, np.int64), fleet.outcomes())
    assert np.max(ages) > 2
    assert (np.diff(ages, axis=0) <= 1).all()


def test_lags_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Lags((0.5, 0.2))


def test_a_profile_of_another_family_is_refused(profile: Path, bundle: Bundle) -> None:
    with pytest.raises(ProfileError, match="no outcomes of tiny"):
        load_replay(profile, None, bundle)


def test_rows_are_what_was_recorded(replay: Replay) -> None:
    assert replay.runs.tolist() == [[start, start + SEGMENTS] for start in range(0, len(replay), SEGMENTS)]
    assert replay.known.miou[:, 0] == pytest.approx(1)
    np.testing.assert_allclose(replay.first_frame, replay.known.miou, atol=0.05)
