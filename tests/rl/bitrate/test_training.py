"""Learning, calibrating and judging, on segments whose bytes can be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clients.bitrate import BitrateEstimator
from clients.calibration import load_calibration
from rl.bitrate.baseline import fit_baseline, forecast
from rl.bitrate.calibration import calibrate
from rl.bitrate.comparison import rivals
from rl.bitrate.data import Seen, SizedSegments, grouped_folds
from rl.bitrate.errors import error_figures, relative_errors
from rl.bitrate.experiment import judge, judged, train_and_calibrate
from rl.bitrate.export import CALIBRATION, MODEL, save_estimator
from rl.bitrate.figures import figures_by_kind
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
    part = judge(trained, test)
    figures = figures_by_kind([part])["real"]
    guess = relative_errors(np.tile(learn.bytes.mean(0), (len(test), 1)), test.bytes).mean()
    assert figures.pictures.mean < guess / 2
    assert len(figures.by_setting) == 3
    assert list(figures.by_drive) == ["drive4"]

    save_estimator(trained.network, QUICK, trained.calibration, tmp_path)
    folder = tmp_path / "1s-2fps"
    estimator = BitrateEstimator(folder / MODEL, load_calibration(folder / CALIBRATION))
    for row, expected in zip(test.segments, part.seen.bytes, strict=True):
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
    for setting in range(3):  # the table brings any setting's size back to the base
        expected = forecast(baseline, data, np.full(6, setting))
        assert np.isnan(expected[0]).all()
        np.testing.assert_allclose(expected[1:], data.bytes[1:], rtol=1e-3)
    with pytest.raises(ValueError, match="follow one another"):
        fit_baseline(made_up(3, 1))


def unchanged(data: SizedSegments, seen: np.ndarray) -> Seen:
    return Seen(seen, np.where(data.follows(), 0.0, 1.0))


def test_an_estimator_that_is_always_half_is_put_right(made_up: MakeUp, origin: SizesOrigin) -> None:
    data = made_up(4, 8)
    seen = unchanged(data, data.bytes / 2)
    part = judged(seen, calibrate(data, seen, origin, fit_baseline(data), 1), data)
    errors = relative_errors(part.corrected, data.bytes)
    assert errors[~data.follows()] == pytest.approx(0.5, abs=0.01)
    assert errors[data.follows()].max() < 0.05


def test_an_error_that_goes_with_the_picture_is_kept_only_by_still_cameras(
    made_up: MakeUp, origin: SizesOrigin
) -> None:
    data = made_up(8, 12)
    rng = np.random.default_rng(0)
    moving = np.array([int(drive[5:]) % 2 == 1 for drive in data.drives])
    fixed = dict.fromkeys(data.drives, 0.0) | {f"drive{n}": rng.normal(0, 0.3) for n in range(0, 8, 2)}
    errors = np.where(moving, rng.normal(0, 0.3, len(data)), [fixed[drive] for drive in data.drives])
    seen = Seen(data.bytes * np.exp(-errors[:, None]), np.where(moving | ~data.follows(), 1.0, 0.0))
    calibration = calibrate(data, seen, origin, fit_baseline(data), 1)
    assert calibration.memory.by_change > 0
    following = figures_by_kind([judged(seen, calibration, data)])["real"].following
    known, nothing = following["still"].known["drawn"].ours.mean, following["still"].pictures.mean
    assert known < nothing / 3
    assert following["moving"].known["drawn"].ours.mean < 1.1 * following["moving"].pictures.mean


def test_a_camera_that_keeps_its_setting_is_judged_there(made_up: MakeUp, origin: SizesOrigin) -> None:
    data = made_up(2, 6)
    errors = np.array([0.1, -0.2, 0.4])  # each setting has its own, always the same
    seen = unchanged(data, data.bytes * np.exp(-errors))
    both = rivals(data, seen, calibrate(data, seen, origin, fit_baseline(data), 1), "kept")
    kept = relative_errors(both.ours, data.bytes)[data.follows()]
    assert kept.max() < 0.05
    assert np.isnan(both.ar1[~data.follows()]).all()


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
