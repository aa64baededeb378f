"""What is known of the estimator's errors from sizes already seen: properties of the filter and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clients.calibration import LASTING, Baseline, Calibration, ErrorFilter, Memory, interval
from clients.codec import CodecFlags
from configs.ladder import CompressionSpace
from configs.timing import TIMINGS

SPACE = CompressionSpace(scales=(1.0, 0.5), qps=(20, 30))
COVARIANCE = 0.04 * np.array(
    [[1.0, 0.9, 0.5, 0.45], [0.9, 1.0, 0.45, 0.5], [0.5, 0.45, 1.0, 0.9], [0.45, 0.5, 0.9, 1.0]]
)


MEMORY = Memory(lasting=0.5, fading=0.1, by_change=2.0)


def calibration() -> Calibration:
    return Calibration(
        timing=TIMINGS[0],
        codec=CodecFlags(),
        space=SPACE,
        memory=MEMORY,
        covariance=tuple(map(tuple, COVARIANCE.tolist())),
        coverage=0.9,
        below=(1.5,) * 4,
        above=(2.0,) * 4,
        flops=1,
        baseline=Baseline(intercept=0, slope=1, ratios=(1, 0.5, 0.4, 0.2)),
    )


def fresh(memory: Memory = MEMORY) -> ErrorFilter:
    return ErrorFilter(memory, COVARIANCE)


def test_nothing_seen_nothing_corrected() -> None:
    state = fresh()
    state.advance(0.5)
    assert (state.mean == 0).all()
    np.testing.assert_allclose(state.deviation, 0.2)


@given(setting=st.integers(0, 3), error=st.floats(-2, 2), change=st.floats(0, 1))
def test_an_error_is_remembered_as_far_as_the_picture_stays(
    setting: int, error: float, change: float
) -> None:
    state = fresh()
    state.observe(setting, error)
    assert state.mean[setting] == pytest.approx(error)
    state.advance(change)
    left = 0.5 * LASTING + 0.5 * MEMORY.left(change)
    assert state.mean[setting] == pytest.approx(left * error)
    for _ in range(2000):
        state.advance(1.0)
    np.testing.assert_allclose(state.mean, 0, atol=1e-6)
    np.testing.assert_allclose(state.deviation, 0.2)


def test_a_still_camera_keeps_more_than_a_moving_one_and_is_surer() -> None:
    still, moving = fresh(), fresh()
    for state, change in ((still, 0.0), (moving, 1.0)):
        state.observe(0, 0.4)
        state.advance(change)
    assert (still.mean > moving.mean).all()
    assert (still.deviation < moving.deviation).all()


def test_what_lasts_is_learnt_from_many_segments_of_a_moving_camera() -> None:
    state = fresh(Memory(lasting=0.5, fading=5.0, by_change=0.0))
    kept = []
    for _ in range(12):
        state.observe(0, 0.4)
        state.advance(1.0)
        kept.append(state.mean[0])
    assert kept == sorted(kept)
    assert kept[0] == pytest.approx(0.2, abs=0.01)
    assert kept[-1] > 0.3


def test_settings_that_vary_together_learn_from_one_another() -> None:
    state = fresh()
    state.observe(0, 0.3)
    np.testing.assert_allclose(state.mean, [0.3, 0.27, 0.15, 0.135])
    assert state.deviation[1] < state.deviation[2] < 0.2


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2), st.floats(0, 1)), max_size=12))
def test_knowledge_never_widens_beyond_ignorance(seen: list[tuple[int, float, float]]) -> None:
    state = fresh()
    for setting, error, change in seen:
        state.advance(change)
        state.observe(setting, error)
        assert (state.deviation <= 0.2 + 1e-9).all()
        assert np.isfinite(state.mean).all()


def test_the_same_size_seen_twice_is_no_news() -> None:
    state = fresh()
    state.observe(2, 0.1)
    before = state.mean
    state.observe(2, 0.1)
    np.testing.assert_allclose(state.mean, before)


def test_intervals_reach_as_far_as_was_calibrated() -> None:
    lower, upper = interval(np.full(4, 1000.0), np.full(4, 0.1), calibration())
    np.testing.assert_allclose(lower, 1000 * np.exp(-0.15))
    np.testing.assert_allclose(upper, 1000 * np.exp(0.2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"below": (1.0,)}, "each of the 4 compression settings"),
        (
            {"covariance": ((1.0, 1.0, 0, 0), (1.0, 1.0, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))},
            "positive definite",
        ),
        ({"memory": {"lasting": 2.0, "fading": 0.1, "by_change": 1.0}}, "less than or equal to 1"),
    ],
)
def test_calibrations_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate(calibration().model_dump() | change)
