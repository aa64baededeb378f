"""Simulated cameras go on where a lost env runner left them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from rl.adapter.environment import PenanceVectorEnv
from rl.adapter.long_lived import SAVE_EVERY, LongLived
from rl.adapter.replay import Replay
from serving.state.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with TemporaryDirectory(prefix="pn-") as folder:
        server = EmbeddedServer(Path(folder))
        server.ensure_running()
        yield server.url
        server.stop()


def walked(env: PenanceVectorEnv, steps: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([env.step(rng.integers(90, size=env.num_envs))[1] for _ in range(steps)])


def test_a_runner_that_is_started_again_goes_on_to_the_bit(replay: Replay, url: str) -> None:
    kept = LongLived(url, "run", 1)
    lost = PenanceVectorEnv(replay, 8, long_lived=kept)
    lost.reset(seed=3)
    while not (kept.restore(lost.fleet) and lost.fleet.over.any()):  # some are to begin anew, others are not
        walked(lost, SAVE_EVERY, seed=0)  # after which its cameras are saved
    expected = walked(lost, SAVE_EVERY - 1, seed=1)
    again = PenanceVectorEnv(replay, 8, long_lived=kept)
    again.reset(seed=99)
    np.testing.assert_array_equal(walked(again, SAVE_EVERY - 1, seed=1), expected)


def test_runners_keep_their_own_cameras(replay: Replay, url: str) -> None:
    first = PenanceVectorEnv(replay, 4, long_lived=LongLived(url, "other", 1))
    first.reset(seed=0)
    walked(first, SAVE_EVERY, seed=0)
    assert not LongLived(url, "other", 2).restore(first.fleet)


def test_what_is_kept_of_another_number_of_cameras_is_left_alone(replay: Replay, url: str) -> None:
    kept = LongLived(url, "sized", 1)
    env = PenanceVectorEnv(replay, 4, long_lived=kept)
    env.reset(seed=0)
    walked(env, SAVE_EVERY, seed=0)
    larger = PenanceVectorEnv(replay, 5, long_lived=kept)
    larger.reset(seed=0)
    assert larger.fleet.cameras == 5
    assert np.isnan(larger.fleet.averages.cost).all()  # of episodes that have just begun
