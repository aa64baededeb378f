"""The figures of trained estimators, in the form in which all of them are reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clients.calibration import Floats, interval
from rl.bitrate.comparison import KNOWLEDGE, Knowledge, Rivals
from rl.bitrate.errors import ErrorFigures, Row, error_figures, relative_errors
from rl.bitrate.experiment import Judged
from rl.profiles.index import Kind

Motion = Literal["all", "still", "moving"]
STILL = 0.6
"""Of the median change of a clip's picture from segment to segment, below which its camera stands still."""

Chosen = NDArray[np.bool_]


class Comparison(Row):
    """Errors on the same segments, with the same knowledge."""

    ar1: ErrorFigures
    ours: ErrorFigures


class Following(Row):
    """Errors on segments that follow another, the only ones that AR(1) speaks of."""

    pictures: ErrorFigures  # ours, without knowing anything of the segment before
    known: dict[Knowledge, Comparison]


class EstimatorFigures(Row):
    """What segments of one kind say of an estimator; `corrected` is what a camera works with."""

    corrected: ErrorFigures
    pictures: ErrorFigures
    following: dict[Motion, Following]  # without those of which there are none
    covered: float  # share of sizes inside their intervals
    by_setting: tuple[ErrorFigures, ...]
    by_drive: dict[str, ErrorFigures]


@dataclass(frozen=True)
class _Errors:
    """Relative errors (segments, settings) of all estimators together, each on segments of its own."""

    drives: NDArray[np.str_]  # (segments,)
    follows: Chosen  # (segments,)
    still: Chosen  # (segments,) the clip's camera stands still
    inside: Floats  # (segments, settings) 1 where the size lies in its interval
    pictures: Floats
    ar1: dict[Knowledge, Floats]
    ours: dict[Knowledge, Floats]

    def figures(self, rows: Chosen, errors: Floats) -> ErrorFigures:
        return error_figures(errors[rows], self.drives[rows].tolist())


def figures_by_kind(results: Sequence[Judged]) -> dict[Kind, EstimatorFigures]:
    """Real and generated video apart; only those that there is something of."""
    if not results:
        return {}
    errors = _joined(results)
    kinds = np.array([kind for part in results for kind in part.data.kinds])
    return {kind: _figures(errors, kinds == kind) for kind in get_args(Kind) if (kinds == kind).any()}


def headline(kinds: Mapping[Kind, EstimatorFigures]) -> Kind:
    """Real video where there is any."""
    return "real" if "real" in kinds else "generated"


def _joined(results: Sequence[Judged]) -> _Errors:
    def errors(estimated: Callable[[Judged], Floats]) -> Floats:
        return np.concatenate([relative_errors(estimated(part), part.data.bytes) for part in results])

    def each(estimated: Callable[[Rivals], Floats]) -> dict[Knowledge, Floats]:
        return {known: errors(partial(_rival, known, estimated)) for known in KNOWLEDGE}

    return _Errors(
        drives=np.array([drive for part in results for drive in part.data.drives]),
        follows=np.concatenate([part.data.follows() for part in results]),
        still=np.concatenate([_stands_still(part) for part in results]),
        inside=np.concatenate([_inside(part) for part in results]),
        pictures=errors(lambda part: part.seen.bytes),
        ar1=each(lambda rivals: rivals.ar1),
        ours=each(lambda rivals: rivals.ours),
    )


def _rival(known: Knowledge, estimated: Callable[[Rivals], Floats], part: Judged) -> Floats:
    return estimated(part.rivals[known])


def _figures(errors: _Errors, rows: Chosen) -> EstimatorFigures:
    ours = errors.ours["drawn"]
    return EstimatorFigures(
        corrected=errors.figures(rows, ours),
        pictures=errors.figures(rows, errors.pictures),
        following=_following(errors, rows & errors.follows),
        covered=float(errors.inside[rows].mean()),
        by_setting=tuple(errors.figures(rows, ours[:, [setting]]) for setting in range(ours.shape[1])),
        by_drive={
            str(drive): errors.figures(rows & (errors.drives == drive), ours)
            for drive in np.unique(errors.drives[rows])
        },
    )


def _following(errors: _Errors, rows: Chosen) -> dict[Motion, Following]:
    chosen: dict[Motion, Chosen] = {"all": rows, "still": rows & errors.still, "moving": rows & ~errors.still}
    return {
        motion: Following(
            pictures=errors.figures(own, errors.pictures),
            known={
                known: Comparison(
                    ar1=errors.figures(own, errors.ar1[known]), ours=errors.figures(own, errors.ours[known])
                )
                for known in KNOWLEDGE
            },
        )
        for motion, own in chosen.items()
        if own.any()
    }


def _stands_still(part: Judged) -> Chosen:
    """(segments,): whether the clip's camera does, by the median change of its picture."""
    clips, follows, change = np.array(part.data.clips), part.data.follows(), part.seen.change
    still = [c for c in np.unique(clips[follows]) if np.median(change[follows & (clips == c)]) < STILL]
    return np.isin(clips, still)


def _inside(part: Judged) -> Floats:
    lower, upper = interval(part.corrected, part.deviation, part.calibration)
    return np.asarray((part.data.bytes >= lower) & (part.data.bytes <= upper), np.float64)
