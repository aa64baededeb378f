"""What is known of the estimator's errors from sizes already seen: properties of the filter and intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clients.bitrate import Baseline, Calibration, ErrorFilter, interval
from clients.codec import CodecFlags
from configs.ladder import CompressionSpace
from configs.timing import TIMINGS

SPACE = CompressionSpace(scales=(1.0, 0.5), qps=(20, 30))
COVARIANCE = 0.04 * np.array(
    [[1.0, 0.9, 0.5, 0.45], [0.9, 1.0, 0.45, 0.5], [0.5, 0.45, 1.0, 0.9], [0.45, 0.5, 0.9, 1.0]]
)


def calibration(memory: float = 0.9) -> Calibration:
    return Calibration(
        timing=TIMINGS[0],
        codec=CodecFlags(),
        space=SPACE,
        memory=memory,
        covariance=tuple(map(tuple, COVARIANCE.tolist())),
        coverage=0.9,
        below=(1.5,) * 4,
        above=(2.0,) * 4,
        flops=1,
        baseline=Baseline(intercept=0, slope=1, ratios=(1, 0.5, 0.4, 0.2)),
    )


def test_nothing_seen_nothing_corrected() -> None:
    state = ErrorFilter(calibration())
    state.advance()
    assert (state.mean == 0).all()
    np.testing.assert_allclose(state.deviation, 0.2)


@given(setting=st.integers(0, 3), error=st.floats(-2, 2))
def test_an_error_is_remembered_and_fades(setting: int, error: float) -> None:
    state = ErrorFilter(calibration(memory=0.9))
    state.advance()
    state.observe(setting, error)
    assert state.mean[setting] == pytest.approx(error)
    state.advance()
    assert state.mean[setting] == pytest.approx(0.9 * error)
    for _ in range(200):
        state.advance()
    np.testing.assert_allclose(state.mean, 0, atol=1e-6)
    np.testing.assert_allclose(state.covariance, COVARIANCE, atol=1e-9)


def test_settings_that_vary_together_learn_from_one_another() -> None:
    state = ErrorFilter(calibration())
    state.observe(0, 0.3)
    np.testing.assert_allclose(state.mean, [0.3, 0.27, 0.15, 0.135])
    assert state.deviation[1] < state.deviation[2] < 0.2


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), max_size=12))
def test_knowledge_never_widens_beyond_ignorance(seen: list[tuple[int, float]]) -> None:
    state = ErrorFilter(calibration())
    for setting, error in seen:
        state.advance()
        state.observe(setting, error)
        assert (state.deviation <= 0.2 + 1e-9).all()
        assert np.isfinite(state.mean).all()


def test_the_same_size_seen_twice_is_no_news() -> None:
    state = ErrorFilter(calibration())
    state.observe(2, 0.1)
    before = state.mean.copy()
    state.observe(2, 0.1)
    np.testing.assert_array_equal(state.mean, before)


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
        ({"memory": 1.0}, "less than 1"),
    ],
)
def test_calibrations_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate(calibration().model_dump() | change)
