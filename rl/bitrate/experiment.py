"""One training with its measurement on drives that it never saw: the form of every figure that is reported.

The network learns from some drives, its errors are calibrated on others, and it is judged on yet others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from clients.bitrate import Calibration, Floats, interval
from rl.bitrate.baseline import fit_baseline, forecast
from rl.bitrate.calibration import calibrate, filtered
from rl.bitrate.data import SizedSegments, grouped_folds
from rl.bitrate.errors import ErrorFigures, Row, error_figures, relative_errors
from rl.bitrate.network import EstimatorNetwork, count_estimator_flops
from rl.bitrate.recipe import BitrateRecipe
from rl.bitrate.training import Progress, predict_bytes, train_estimator
from rl.profiles.store import SizesOrigin


@dataclass(frozen=True)
class Trained:
    """An estimator with what its own drives made of it."""

    network: EstimatorNetwork
    recipe: BitrateRecipe
    calibration: Calibration


@dataclass(frozen=True)
class Judged:
    """True and estimated bytes (segments, settings) of segments that nothing was learnt from."""

    data: SizedSegments
    pictures: Floats  # from the pictures alone
    corrected: Floats  # with the size of the segment before at one setting
    deviation: Floats  # of the corrected estimates' logarithms
    baseline: Floats  # AR(1); NaN where a segment follows none


class Comparison(Row):
    """Errors on the same segments, those that follow another: AR(1) says nothing of any other."""

    ar1: ErrorFigures
    ours: ErrorFigures


class EstimatorFigures(Row):
    """What the segments say of an estimator; `corrected` is what a camera works with."""

    corrected: ErrorFigures
    pictures: ErrorFigures
    following: Comparison | None
    covered: float  # share of sizes inside their intervals
    by_setting: tuple[ErrorFigures, ...]
    by_drive: dict[str, ErrorFigures]


def train_and_calibrate(
    learn: SizedSegments,
    check: SizedSegments,
    recipe: BitrateRecipe,
    origin: SizesOrigin,
    progress: Progress = lambda seen, loss: None,
) -> Trained:
    """Learns from `learn`, calibrates on `check`; they must share no drive (`ValueError`)."""
    shared = set(learn.drives) & set(check.drives)
    if shared:
        raise ValueError(f"drives both to learn from and to calibrate on: {', '.join(sorted(shared))}")
    if len(check) < 2:
        raise ValueError("no drive to calibrate on: give some the split val in the clip index")
    network = train_estimator(learn, recipe, progress)
    seen = predict_bytes(network, check, recipe)
    flops = count_estimator_flops(recipe.architecture, learn.places, learn.bytes.shape[1])
    return Trained(network, recipe, calibrate(check, seen, origin, fit_baseline(learn), flops))


def judge(trained: Trained, data: SizedSegments) -> Judged:
    """An estimator's work on other segments."""
    seen = predict_bytes(trained.network, data, trained.recipe)
    return judged(seen, trained.calibration, data)


def judged(seen: Floats, calibration: Calibration, data: SizedSegments) -> Judged:
    """From what was estimated from pictures alone (segments, settings)."""
    corrected, deviation = filtered(data, seen, calibration)
    return Judged(data, seen, corrected, deviation, forecast(calibration.baseline, data))


def figures_of(results: Collection[tuple[Judged, Calibration]]) -> EstimatorFigures:
    """Figures over one or more estimators, each on segments of its own."""
    ours = np.concatenate([relative_errors(part.corrected, part.data.bytes) for part, _ in results])
    alone = np.concatenate([relative_errors(part.pictures, part.data.bytes) for part, _ in results])
    ar1 = np.concatenate([relative_errors(part.baseline, part.data.bytes) for part, _ in results])
    drives = np.array([drive for part, _ in results for drive in part.data.drives])
    inside = np.concatenate([_inside(part, calibration) for part, calibration in results])
    following = ~np.isnan(ar1[:, 0])
    comparison = None
    if following.any():
        names = drives[following].tolist()
        comparison = Comparison(
            ar1=error_figures(ar1[following], names), ours=error_figures(ours[following], names)
        )
    return EstimatorFigures(
        corrected=error_figures(ours, drives.tolist()),
        pictures=error_figures(alone, drives.tolist()),
        following=comparison,
        covered=float(inside.mean()),
        by_setting=tuple(error_figures(ours[:, [s]], drives.tolist()) for s in range(ours.shape[1])),
        by_drive={
            str(drive): error_figures(ours[drives == drive], [str(drive)] * int((drives == drive).sum()))
            for drive in np.unique(drives)
        },
    )


def _inside(part: Judged, calibration: Calibration) -> Floats:
    lower, upper = interval(part.corrected, part.deviation, calibration)
    return np.asarray((part.data.bytes >= lower) & (part.data.bytes <= upper), np.float64)


def cross_validate(
    data: SizedSegments,
    recipe: BitrateRecipe,
    origin: SizesOrigin,
    folds: int,
    only: Collection[int],
    progress: Progress = lambda seen, loss: None,
) -> list[tuple[Judged, Calibration]]:
    """Every drive judged by an estimator that never saw it: `folds` groups of whole drives, of which each is
    judged once (those numbered in `only`), the next one calibrates, and the others teach."""
    groups = grouped_folds(data.drives, folds)
    results = []
    for number in only:
        check = groups[(number + 1) % folds]
        learn = data.of_drives({*groups[number], *check}, chosen=False)
        trained = train_and_calibrate(learn, data.of_drives(check), recipe, origin, progress)
        results.append((judge(trained, data.of_drives(groups[number])), trained.calibration))
    return results
