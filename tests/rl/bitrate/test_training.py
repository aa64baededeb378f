"""Learning, calibrating and judging, on segments whose bytes can be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clients.bitrate import BitrateEstimator, load_calibration
from rl.bitrate.baseline import fit_baseline, forecast
from rl.bitrate.calibration import calibrate, filtered
from rl.bitrate.data import SizedSegments, grouped_folds
from rl.bitrate.errors import error_figures, relative_errors
from rl.bitrate.experiment import figures_of, judge, train_and_calibrate
from rl.bitrate.export import CALIBRATION, MODEL, save_estimator
from rl.bitrate.recipe import BitrateRecipe, EstimatorArchitecture, Passes
from rl.profiles.store import SizesOrigin

MakeUp = Callable[[int, int], SizedSegments]
QUICK = BitrateRecipe(
    name="quick",
    architecture=EstimatorArchitecture(first=4, inner=4, second=4, hidden=8),
    passes=(Passes(epochs=8, learning_rate=(3e-2, 1e-3), crop=0.25),),
    head_epochs=400,
    head_rate=(1e-2, 1e-3),
    batch=4,
)


def test_what_can_be_seen_is_learnt_and_carried_to_the_camera(
    made_up: MakeUp, origin: SizesOrigin, tmp_path: Path
) -> None:
    data = made_up(5, 4)
    learn, check, test = (data.of_drives(d) for d in (["drive0", "drive1", "drive2"], ["drive3"], ["drive4"]))
    trained = train_and_calibrate(learn, check, QUICK, origin)
    judged = judge(trained, test)
    figures = figures_of([(judged, trained.calibration)])
    guess = relative_errors(np.tile(learn.bytes.mean(0), (len(test), 1)), test.bytes).mean()
    assert figures.pictures.mean < guess / 2
    assert len(figures.by_setting) == 3
    assert list(figures.by_drive) == ["drive4"]

    save_estimator(trained.network, QUICK, trained.calibration, tmp_path)
    folder = tmp_path / "1s-2fps"
    estimator = BitrateEstimator(folder / MODEL, load_calibration(folder / CALIBRATION))
    for row, expected in zip(test.segments, judged.pictures, strict=True):
        sizes, features = estimator.look(row.luma)
        np.testing.assert_allclose(sizes, expected, rtol=1e-4)
        assert features.shape == (QUICK.architecture.hidden,)
    first = estimator.estimate_luma(test.segments[0].luma)
    assert (first.lower <= first.upper).all()
    estimator.observe(0, int(test.segments[0].bytes[0]))


def test_learning_and_calibrating_share_no_drive(made_up: MakeUp, origin: SizesOrigin) -> None:
    data = made_up(2, 2)
    with pytest.raises(ValueError, match="drives both to learn from and to calibrate on: drive0, drive1"):
        train_and_calibrate(data, data, QUICK, origin)


def test_ar1_finds_the_line_that_made_the_sizes(made_up: MakeUp) -> None:
    data = made_up(1, 6)
    for before, after in zip(data.segments, data.segments[1:], strict=False):
        after.bytes[:] = (10_000 + 0.5 * before.bytes[0]) * np.array([1, 0.6, 0.3])
    baseline = fit_baseline(data)
    assert baseline.slope == pytest.approx(0.5, abs=0.01)
    expected = forecast(baseline, data)
    assert np.isnan(expected[0]).all()
    np.testing.assert_allclose(expected[1:], data.bytes[1:], rtol=1e-3)
    with pytest.raises(ValueError, match="follow one another"):
        fit_baseline(made_up(3, 1))


def test_an_estimator_that_is_always_half_is_put_right(made_up: MakeUp, origin: SizesOrigin) -> None:
    data = made_up(4, 8)
    seen = data.bytes / 2
    calibration = calibrate(data, seen, origin, fit_baseline(data), 1)
    corrected, _ = filtered(data, seen, calibration)
    errors = relative_errors(corrected, data.bytes)
    assert errors[~data.follows()] == pytest.approx(0.5, abs=0.01)
    assert errors[data.follows()].max() < 0.05


def test_folds_hold_whole_drives_and_all_of_them() -> None:
    drives = ["a"] * 9 + ["b"] * 2 + ["c"] * 2 + ["d"] * 5 + ["e"]
    folds = grouped_folds(drives, 3)
    assert sorted(name for fold in folds for name in fold) == ["a", "b", "c", "d", "e"]
    assert ("a",) in folds
    assert folds == grouped_folds(drives, 3)
    with pytest.raises(ValueError, match="5 drives make 2 to 5 folds"):
        grouped_folds(drives, 6)


def test_intervals_come_from_drives_not_segments() -> None:
    alike = np.full((40, 2), 0.1)
    assert error_figures(alike, ["a"] * 40).mean_interval is None
    errors = np.concatenate([np.full((20, 2), 0.1), np.full((20, 2), 0.3)])
    figures = error_figures(errors, ["a"] * 20 + ["b"] * 20)
    assert figures.mean == pytest.approx(0.2)
    assert figures.mean_interval == pytest.approx((0.1, 0.3))
