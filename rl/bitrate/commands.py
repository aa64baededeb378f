"""The bodies of `penance-train bitrate` and `bitrate-folds`: from a profile to estimators on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from rich.console import Console

from clients.calibration import Calibration
from configs.bundle import Bundle
from configs.timing import SegmentTiming
from rl.bitrate.data import Seen, SizedSegments, grouped_folds, load_sizes
from rl.bitrate.experiment import Judged, cross_validate, judge, judged, train_and_calibrate
from rl.bitrate.export import save_estimator
from rl.bitrate.figures import EstimatorFigures, figures_by_kind
from rl.bitrate.recipe import BitrateRecipe
from rl.bitrate.training import Progress
from rl.profiles.index import ClipIndex, Kind, Split
from rl.profiles.progress import segment_progress
from rl.profiles.store import SizesOrigin

FIGURES = "figures.json"


def train_bitrate(
    profile: Path,
    index: ClipIndex,
    bundle: Bundle,
    timing: SegmentTiming,
    recipe: BitrateRecipe,
    out: Path,
    console: Console,
) -> dict[Kind, EstimatorFigures]:
    """Learns from train, calibrates on val, is judged on test; writes `out`/TIMING.

    Raises `ProfileError` and `ValueError`.
    """
    origin = SizesOrigin.of(bundle)
    learn, check, test = (
        load_split(profile, timing, origin, index, split) for split in ("train", "val", "test")
    )
    with training_progress(console, f"{recipe.name} {timing}", recipe, len(learn)) as progress:
        trained = train_and_calibrate(learn, check, recipe, origin, progress)
    save_estimator(trained.network, recipe, trained.calibration, out)
    figures = figures_by_kind([judge(trained, test)] if len(test) else [])
    write_figures(out / str(timing) / FIGURES, figures)
    return figures


def validate_bitrate(
    profile: Path,
    index: ClipIndex,
    bundle: Bundle,
    timing: SegmentTiming,
    recipe: BitrateRecipe,
    folds: int,
    only: Collection[int],
    out: Path,
    console: Console,
) -> dict[Kind, EstimatorFigures]:
    """Every street drive judged by an estimator that never saw it; each fold's outcome is kept in `out`, and
    folds that are there already are not trained again.

    Raises `ProfileError` and `ValueError`.
    """
    origin = SizesOrigin.of(bundle)
    data = load_split(profile, timing, origin, index, "train", "val", "test")
    learnt = len(data) * (folds - 2) // folds
    results: list[Judged] = []
    for number in sorted(only):
        path = out / f"{recipe.name}-{timing}-fold{number}of{folds}.npz"
        if not path.exists():
            with training_progress(console, f"fold {number + 1} of {folds}", recipe, learnt) as progress:
                [result] = cross_validate(data, recipe, origin, folds, [number], progress)
            _write_fold(path, result)
        results.append(_read_fold(path, data, grouped_folds(data.drives, folds)[number]))
    return figures_by_kind(results)


def write_figures(path: Path, figures: dict[Kind, EstimatorFigures]) -> None:
    """Real and generated, as JSON."""
    path.write_bytes(TypeAdapter(dict[Kind, EstimatorFigures]).dump_json(figures, indent=1) + b"\n")


def load_split(
    profile: Path, timing: SegmentTiming, origin: SizesOrigin, index: ClipIndex, *splits: Split
) -> SizedSegments:
    """The recorded segments of the clips that are for these splits. Raises `ProfileError`."""
    return load_sizes(profile, timing, origin, index, {clip.name for clip in index.of_split(*splits)})


@contextmanager
def training_progress(
    console: Console, title: str, recipe: BitrateRecipe, segments: int
) -> Iterator[Progress]:
    """Counts the segments that a training has gone through, and shows its loss and the time left."""
    with segment_progress(console) as bar:
        total = sum(part.epochs for part in recipe.passes) + recipe.head_epochs
        task = bar.add_task(title, total=total * segments)

        def advance(seen: int, loss: float) -> None:
            bar.update(task, advance=seen, description=f"{title}, loss {loss:.3f}")

        yield advance


def _write_fold(path: Path, part: Judged) -> None:
    """What was seen, with the segments that it was seen in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        bytes=part.data.bytes,
        seen=part.seen.bytes,
        change=part.seen.change,
        calibration=np.array(part.calibration.model_dump_json()),
    )
    partial.replace(path)


def _read_fold(path: Path, data: SizedSegments, drives: Collection[str]) -> Judged:
    """A fold's outcome. Raises `ValueError` where the profile has other segments by now."""
    own = data.of_drives(drives)
    with np.load(path) as held:
        if held["bytes"].shape != own.bytes.shape or (held["bytes"] != own.bytes).any():
            raise ValueError(f"{path} is about other segments than the profile holds now: delete it")
        calibration = Calibration.model_validate_json(str(held["calibration"]))
        return judged(Seen(held["seen"], held["change"]), calibration, own)
