"""What `penance-evaluate bitrate --json` writes: Table 1 (paper, 4.2.3) with everything behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import computed_field

from configs.ladder import CompressionSetting
from rl.bitrate.errors import ErrorFigures, Row, error_figures, relative_errors
from rl.bitrate.experiment import Judged
from rl.bitrate.figures import EstimatorFigures, figures_by_kind, headline
from rl.profiles.index import Kind


class SettingRow(Row):
    """Errors at one compression setting."""

    scale: float
    qp: int
    mean_error: float
    median_error: float


class ClipErrors(Row):
    """Errors on one clip."""

    mean_error: float
    median_error: float
    segments: int
    native_size: tuple[int, int]  # (width, height)


class TimingReport(Row):
    """One row pair of Table 1. Errors are fractions: 0.17 is 17 %.

    The headline is real video where there is any: `*_error` are ours over all its segments, `ar1_*` AR(1)'s
    over those that follow another, `following_*` ours on those with the knowledge that AR(1) has.
    """

    timing: str
    kinds: dict[Kind, EstimatorFigures]
    coverage: float  # promised
    by_setting: tuple[SettingRow, ...]  # of the headline
    by_clip: dict[str, ClipErrors]

    @property
    def headline(self) -> EstimatorFigures:
        return self.kinds[headline(self.kinds)]

    @computed_field
    def mean_error(self) -> float:
        return self.headline.corrected.mean

    @computed_field
    def median_error(self) -> float:
        return self.headline.corrected.median

    @computed_field
    def ar1_mean_error(self) -> float | None:
        return None if (row := self._papers("ar1")) is None else row.mean

    @computed_field
    def ar1_median_error(self) -> float | None:
        return None if (row := self._papers("ar1")) is None else row.median

    @computed_field
    def following_mean_error(self) -> float | None:
        return None if (row := self._papers("ours")) is None else row.mean

    @computed_field
    def following_median_error(self) -> float | None:
        return None if (row := self._papers("ours")) is None else row.median

    @computed_field
    def segments(self) -> int:
        return self.headline.corrected.segments

    def _papers(self, method: str) -> ErrorFigures | None:
        """AR(1)'s or ours with the base size of the segment before; None where no segment follows one."""
        if "all" not in self.headline.following:
            return None
        row: ErrorFigures = getattr(self.headline.following["all"].known["base"], method)
        return row


class BitrateReport(TimingReport):
    """The first timing's figures at the top, as most cameras use it, and those of all beside."""

    bundle: str
    timings: tuple[TimingReport, ...]


def timing_report(
    part: Judged, settings: Sequence[CompressionSetting], sizes: dict[str, tuple[int, int]]
) -> TimingReport:
    """sizes: native (width, height) by clip."""
    kinds = figures_by_kind([part])
    return TimingReport(
        timing=str(part.calibration.timing),
        kinds=kinds,
        coverage=part.calibration.coverage,
        by_setting=tuple(
            SettingRow(scale=s.scale, qp=s.qp, mean_error=row.mean, median_error=row.median)
            for s, row in zip(settings, kinds[headline(kinds)].by_setting, strict=True)
        ),
        by_clip=_by_clip(part, sizes),
    )


def _by_clip(part: Judged, sizes: dict[str, tuple[int, int]]) -> dict[str, ClipErrors]:
    errors, clips = relative_errors(part.corrected, part.data.bytes), np.array(part.data.clips)
    rows = {}
    for clip in np.unique(clips):
        own = error_figures(errors[clips == clip], [str(clip)] * int((clips == clip).sum()))
        rows[str(clip)] = ClipErrors(
            mean_error=own.mean,
            median_error=own.median,
            segments=own.segments,
            native_size=sizes[str(clip)],
        )
    return rows


def bitrate_report(bundle: str, timings: Sequence[TimingReport]) -> BitrateReport:
    """The report over all timings, of which there is at least one."""
    first = {name: getattr(timings[0], name) for name in TimingReport.model_fields}
    return BitrateReport(bundle=bundle, timings=tuple(timings), **first)
