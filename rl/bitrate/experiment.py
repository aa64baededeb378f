"""One training with its measurement on drives that it never saw.

The network learns from some drives, its errors are calibrated on others, and it is judged on yet others.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clients.calibration import Calibration, Floats
from rl.bitrate.baseline import fit_baseline
from rl.bitrate.calibration import calibrate, filtered
from rl.bitrate.comparison import KNOWLEDGE, Knowledge, Rivals, drawn_settings, rivals
from rl.bitrate.data import Seen, SizedSegments, grouped_folds
from rl.bitrate.network import EstimatorNetwork, count_estimator_flops
from rl.bitrate.recipe import BitrateRecipe
from rl.bitrate.training import Progress, see, train_estimator
from rl.profiles.store import SizesOrigin


@dataclass(frozen=True)
class Trained:
    """An estimator with what its own drives made of it."""

    network: EstimatorNetwork
    recipe: BitrateRecipe
    calibration: Calibration


@dataclass(frozen=True)
class Judged:
    """An estimator on segments that nothing was learnt from: bytes (segments, settings)."""

    data: SizedSegments
    seen: Seen
    calibration: Calibration
    deviation: Floats  # of the logarithms, where the setting that is known of the segment before was drawn
    rivals: dict[Knowledge, Rivals]

    @property
    def corrected(self) -> Floats:
        """What a camera works with that sends each segment at a setting drawn anew."""
        return self.rivals["drawn"].ours


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
    seen = see(network, check, recipe)
    flops = count_estimator_flops(recipe.architecture, learn.places, learn.bytes.shape[1])
    return Trained(network, recipe, calibrate(check, seen, origin, fit_baseline(learn), flops))


def judge(trained: Trained, data: SizedSegments) -> Judged:
    """An estimator's work on other segments."""
    return judged(see(trained.network, data, trained.recipe), trained.calibration, data)


def judged(seen: Seen, calibration: Calibration, data: SizedSegments) -> Judged:
    """From what was seen in pictures alone."""
    _, deviation = filtered(data, seen, calibration, drawn_settings(len(data), seen.bytes.shape[1]))
    known = {knowledge: rivals(data, seen, calibration, knowledge) for knowledge in KNOWLEDGE}
    return Judged(data, seen, calibration, deviation, known)


def cross_validate(
    data: SizedSegments,
    recipe: BitrateRecipe,
    origin: SizesOrigin,
    folds: int,
    only: Collection[int],
    progress: Progress = lambda seen, loss: None,
) -> list[Judged]:
    """Every drive judged by an estimator that never saw it: `folds` groups of whole drives, of which each is
    judged once (those numbered in `only`), the next one calibrates, and the others teach."""
    groups = grouped_folds(data.drives, folds)
    results = []
    for number in only:
        check = groups[(number + 1) % folds]
        learn = data.of_drives({*groups[number], *check}, chosen=False)
        trained = train_and_calibrate(learn, data.of_drives(check), recipe, origin, progress)
        results.append(judge(trained, data.of_drives(groups[number])))
    return results
