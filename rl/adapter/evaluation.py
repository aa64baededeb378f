"""The paper's evaluation of policies (4.2): every method on drives that it never saw, under the same
constraints.

Drives are left out in groups: each group is judged once by what was learnt from the others, with the margin
that the other groups ask for. With as many groups as drives that is leave-one-drive-out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from rl.adapter.curves import Curve
from rl.adapter.figures import CurvePoint, Figures, PairFigures, by_pair, figures_of
from rl.adapter.fleet import Lags
from rl.adapter.methods import MARGINS, Fitted, Method, Trained, failure_where_feasible, least_margin
from rl.adapter.play import PROMPT, Choices, Pair, Results, play
from rl.adapter.policies import Cautious
from rl.adapter.replay import Replay
from rl.bitrate.data import grouped_folds
from rl.profiles.choice import BANDWIDTHS, TARGET
from rl.profiles.index import ClipIndex

TARGETS = (0.5, 0.6, 0.7)
MIDDLE = 0.6  # MB/s of Fig. 15
BY_BANDWIDTH = tuple(Pair(TARGET, bandwidth) for bandwidth in BANDWIDTHS)  # Fig. 14
BY_TARGET = tuple(Pair(target, MIDDLE) for target in TARGETS)  # Fig. 15
PAIRS = BY_BANDWIDTH + BY_TARGET
HEADLINE = range(len(BY_BANDWIDTH))

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Fold:
    """Replays of drives to learn from, to choose margins on and to be judged; no drive is in two of them."""

    learn: Replay
    check: Replay | None  # None: margins are chosen by what other folds came to
    judged: Replay
    rows: NDArray[np.int64]  # of the judged segments, in the whole replay


class MethodReport(Figures):
    """At target 0.65, over the bandwidths; and at every pair. `curve` is the trade-off: the same policy, told
    targets that are higher or lower by a margin."""

    after_first: Figures | None  # without each stretch's first segment, before which no answer can be there
    by_pair: tuple[PairFigures, ...]
    by_kind: dict[str, Figures]  # real and generated clips apart
    by_drive: dict[str, Figures]
    curve: tuple[CurvePoint, ...]
    margins: tuple[float, ...]  # chosen on drives of their own, one a fold; none for methods without
    learning: tuple[Curve, ...]  # one a fold, of methods that are learnt as recipes say


class AdapterReport(BaseModel):
    """What `penance-evaluate adapter --json` writes."""

    model_config = ConfigDict(frozen=True)

    bundle: str
    segments: int
    drives: int
    folds: int
    lag: int  # segments until an answer is there
    estimates: str  # where the estimated bytes come from
    embeddings: str  # ... and the embeddings
    infeasible: float  # share of segments and bandwidths at which even Optimal fails, at target 0.65
    binds: dict[str, float]  # by bandwidth: share of segments whose best configuration does not fit
    methods: dict[str, MethodReport]


def drive_folds(replay: Replay, folds: int, embedded: Callable[[int, Replay], Replay]) -> Iterator[Fold]:
    """Every drive that the family was not trained on, judged once. `embedded` gives a fold's number its
    embeddings. Raises `ValueError`."""
    for number, judged in enumerate(unfamiliar_groups(replay, folds)):
        yield fold_of(embedded(number, replay), judged)


def unfamiliar_groups(replay: Replay, folds: int) -> list[tuple[str, ...]]:
    """Drives to judge, by fold. Those that the family was trained on are never judged: it does better there
    than it will anywhere else. Raises `ValueError`."""
    return grouped_folds(replay.drives[~replay.familiar].tolist(), folds)


def split_fold(replay: Replay, index: ClipIndex) -> Fold:
    """The index's own split: test drives, by what was learnt from train and calibrated on val."""
    drives = {split: {clip.drive for clip in index.of_split(split)} for split in ("train", "val", "test")}
    return Fold(
        replay.of_drives(drives["train"]).to_learn_from(),
        replay.of_drives(drives["val"]),
        replay.of_drives(drives["test"]),
        np.flatnonzero(np.isin(replay.drives, sorted(drives["test"]))),
    )


def fold_of(replay: Replay, judged: Collection[str]) -> Fold:
    """Judges some drives, and learns from all others."""
    return Fold(
        replay.of_drives(judged, chosen=False).to_learn_from(),
        None,
        replay.of_drives(judged),
        np.flatnonzero(np.isin(replay.drives, sorted(judged))),
    )


@dataclass
class Played:
    """One method's choices on the judged segments of all folds: (pairs, segments)."""

    plain: Choices
    by_margin: dict[float, Choices]
    margins: list[float]  # those chosen, one a fold, for methods that carry any
    audited: bool = False
    curves: list[Curve] = field(default_factory=list)

    @classmethod
    def empty(cls, segments: int) -> Played:
        return cls(_blank(segments), {margin: _blank(segments) for margin in MARGINS}, [])

    def add(self, fold: Fold, fitted: Fitted, lags: Lags) -> None:
        policy = fitted(fold.judged)
        self.plain[:, fold.rows] = play(fold.judged, policy, PAIRS, lags)
        base = policy
        if isinstance(fitted, Trained):
            self.margins.append(fitted.margin)
            self.audited = fitted.audited
            self.curves += [fitted.curve] if fitted.curve else []
            base = fitted.fitted(fold.judged)
        for margin, choices in self.by_margin.items():
            choices[:, fold.rows] = play(fold.judged, Cautious(base, margin), PAIRS, lags)

    def choose_margins(self, replay: Replay, folds: Sequence[Fold]) -> None:
        """For each fold the least margin at which no more than was allowed failed in all others."""
        for number, fold in enumerate(folds):
            others = np.sort(np.concatenate([other.rows for other in folds if other is not fold]))
            part = replay.of(np.isin(np.arange(len(replay)), others))
            rates = [
                failure_where_feasible(Results.of(part, choices[:, others], PAIRS))
                for choices in self.by_margin.values()
            ]
            self.margins[number] = least_margin(rates)
            self.plain[:, fold.rows] = self.by_margin[self.margins[number]][:, fold.rows]


def compare(
    replay: Replay,
    methods: Mapping[str, Method],
    folds: Sequence[Fold],
    notify: Notify,
    lags: Lags = PROMPT,
) -> dict[str, MethodReport]:
    """Every method on the judged segments of all folds."""
    played = {name: Played.empty(len(replay)) for name in methods}
    for number, fold in enumerate(folds, 1):
        for name, method in methods.items():
            notify(f"fold {number} of {len(folds)}: {name}")
            played[name].add(fold, method(fold.learn, fold.check), lags)
    for found in played.values():
        if found.margins and all(fold.check is None for fold in folds):
            found.choose_margins(replay, folds)
    rows = np.sort(np.concatenate([fold.rows for fold in folds]))
    judged = replay.of(np.isin(np.arange(len(replay)), rows))
    return {name: _report(judged, found, rows) for name, found in played.items()}


def _report(judged: Replay, played: Played, rows: NDArray[np.int64]) -> MethodReport:
    results = Results.of(judged, played.plain[:, rows], PAIRS, played.audited)
    headline = results.at(HEADLINE)
    whole = figures_of(headline, judged.drives)
    follows = np.arange(len(judged)) > judged.run_starts
    after = figures_of(headline.of_segments(follows), judged.drives[follows]) if follows.any() else None
    curve = []
    for margin, choices in played.by_margin.items():
        point = figures_of(
            Results.of(judged, choices[:, rows], PAIRS, played.audited).at(HEADLINE), judged.drives
        )
        values = point.model_dump(include=set(CurvePoint.model_fields))
        curve.append(CurvePoint(margin=margin, **values))
    return MethodReport(
        **whole.model_dump(),
        after_first=after,
        by_pair=by_pair(results, judged.drives, PAIRS),
        by_kind=_apart(headline, judged.drives, judged.kinds),
        by_drive=_apart(headline, judged.drives, judged.drives),
        curve=tuple(curve),
        margins=tuple(played.margins),
        learning=tuple(played.curves),
    )


def _apart(results: Results, drives: NDArray[np.str_], labels: NDArray[np.str_]) -> dict[str, Figures]:
    return {
        str(label): figures_of(results.of_segments(labels == label), drives[labels == label])
        for label in np.unique(labels)
    }


def _blank(segments: int) -> Choices:
    return np.zeros((len(PAIRS), segments), np.int64)
