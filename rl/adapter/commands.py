"""The bodies of the adapter's commands: from a profile on disk to figures, trained policies and bundles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from configs.bundle import Bundle
from configs.timing import TIMINGS
from rl.adapter.evaluation import (
    BY_BANDWIDTH,
    PAIRS,
    AdapterReport,
    Fold,
    compare,
    drive_folds,
    split_fold,
)
from rl.adapter.fleet import Lags
from rl.adapter.methods import (
    Method,
    adapter_method,
    audited,
    first_frame_method,
    remembered,
    supervised_method,
    trained_method,
    unlearnt_methods,
)
from rl.adapter.play import PROMPT
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay
from rl.adapter.runs import fold_folder, with_embeddings_of
from rl.profiles.choice import TARGET, adaptation
from rl.profiles.index import ClipIndex, index_folder, load_drives
from rl.profiles.recording import Recording, record


def evaluate_adapters(
    recorded: Recorded,
    bundle: Bundle,
    recipes: Sequence[AdapterRecipe],
    policies: Sequence[Path],
    only: Collection[str],
    encoder: Path | None,
    folds: int,
    lag: int,
    console: Console,
) -> AdapterReport:
    """Every method (or `only` these), on drives left out in `folds` groups, or on the index's test drives
    where that is 0. Raises `ProfileError` and `ValueError`."""
    if policies and folds:
        raise ValueError(
            "trained policies are judged on the test drives of the index: give --index, --folds 0"
        )
    replay = recorded.replay
    if folds:

        def embedded(number: int, whole: Replay) -> Replay:
            if encoder is None:
                return whole
            return with_embeddings_of(whole, fold_folder(encoder, number, folds), bundle.family)

        found = list(drive_folds(replay, folds, embedded))
    else:
        embedding = with_embeddings_of(replay, encoder, bundle.family) if encoder else replay
        found = [split_fold(embedding, recorded.known_index)]
    methods = all_methods(recorded.folder, bundle, recipes)
    methods |= {f"trained, {folder.name}": trained_method(folder) for folder in policies}
    unknown = sorted(set(only) - set(methods))
    if unknown:
        raise ValueError(f"no method is called {', '.join(unknown)}: there are {', '.join(methods)}")
    chosen = {name: method for name, method in methods.items() if not only or name in only}
    return report_of(replay, bundle, chosen, found, console.print, late(lag))


def record_clips(
    clips: Path, bundle: Path, frame_stride: int, out: Path, console: Console
) -> tuple[Path, ClipIndex]:
    """A profile of every video under a folder, in `out`, and their index. Raises `SourceError` and others."""
    index = index_folder(clips, load_drives(), console.print)
    recording = Recording(bundle.resolve(), out.resolve(), TIMINGS[0], frame_stride, outcomes=True)
    record(recording, index, None, console)
    return out, index


def all_methods(profile: Path | None, bundle: Bundle, recipes: Sequence[AdapterRecipe]) -> dict[str, Method]:
    """Those that learn nothing; for each recipe its adapter; and both that predict accuracies, of which DAO-C
    looks at the pictures of a profile's folder."""
    methods = unlearnt_methods()
    for recipe in recipes:
        methods |= _with_audits(recipe.name, adapter_method(recipe, PAIRS))
    if recipes:
        steps = recipes[0].imitation.steps + recipes[0].full_information.steps
        methods |= _with_audits("supervised", supervised_method(recipes[0], steps, PAIRS))
    if recipes and profile is not None:
        methods["DAO-C"] = first_frame_method(profile, bundle, recipes[0].seed)
    return methods


def _with_audits(name: str, method: Method) -> dict[str, Method]:
    """A method by itself, and corrected by audits of each camera."""
    once = remembered(method)
    return {name: once, f"{name}, audited": audited(once, PAIRS)}


def late(lag: int) -> Lags:
    """Every answer exactly this many segments late."""
    return Lags((0.0,) * (lag - 1) + (1.0,))


def report_of(
    replay: Replay,
    bundle: Bundle,
    methods: Mapping[str, Method],
    folds: Sequence[Fold],
    notify: Callable[[str], None],
    lags: Lags = PROMPT,
) -> AdapterReport:
    """Compares, and says what was compared."""
    judged = replay.of(np.isin(np.arange(len(replay)), np.concatenate([fold.rows for fold in folds])))
    gains = [adaptation(judged.known, TARGET, pair.bandwidth) for pair in BY_BANDWIDTH]
    return AdapterReport(
        bundle=bundle.id,
        segments=len(judged),
        drives=len(np.unique(judged.drives)),
        folds=len(folds),
        estimates="the bundle's estimator" if replay.features.shape[1] else "sizes of the segment before",
        lag=len(lags.probabilities),
        embeddings="trained on other drives" if folds[0].learn.embeddings.shape[2] else "none",
        infeasible=float(np.mean([gain.failure for gain in gains])),
        binds={f"{gain.bandwidth:g}": gain.binds for gain in gains},
        methods=compare(replay, methods, folds, notify, lags),
    )
