"""Table 1 (paper, 4.2.3): what `penance-evaluate bitrate --json` writes, and the table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from clients.bitrate import Calibration
from configs.ladder import CompressionSetting
from rl.bitrate.errors import Row, error_figures, relative_errors
from rl.bitrate.experiment import EstimatorFigures, Judged, figures_of


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

    `ar1_*` are over the segments that follow another, `*_error` over all; `following_mean_error` is ours on
    AR(1)'s segments.
    """

    timing: str
    mean_error: float
    p25_error: float
    median_error: float
    p75_error: float
    mean_error_interval: tuple[float, float] | None  # 95 %, drives drawn anew
    median_error_interval: tuple[float, float] | None
    pictures_mean_error: float  # without knowing the size of the segment before
    pictures_median_error: float
    ar1_mean_error: float | None
    ar1_p25_error: float | None
    ar1_median_error: float | None
    ar1_p75_error: float | None
    following_mean_error: float | None
    following_median_error: float | None
    coverage: float  # promised
    covered: float  # measured
    segments: int
    by_setting: tuple[SettingRow, ...]
    by_clip: dict[str, ClipErrors]


class BitrateReport(TimingReport):
    """The first timing's figures at the top, as most cameras use it, and those of all beside."""

    bundle: str
    timings: tuple[TimingReport, ...]


def timing_report(
    part: Judged,
    calibration: Calibration,
    settings: Sequence[CompressionSetting],
    sizes: dict[str, tuple[int, int]],
) -> TimingReport:
    """sizes: native (width, height) by clip."""
    figures = figures_of([(part, calibration)])
    return TimingReport(
        timing=str(calibration.timing),
        **_ours(figures),
        **_baseline(figures),
        coverage=calibration.coverage,
        covered=figures.covered,
        segments=figures.corrected.segments,
        by_setting=tuple(
            SettingRow(scale=s.scale, qp=s.qp, mean_error=row.mean, median_error=row.median)
            for s, row in zip(settings, figures.by_setting, strict=True)
        ),
        by_clip=_by_clip(part, sizes),
    )


def _ours(figures: EstimatorFigures) -> dict[str, Any]:
    ours, pictures = figures.corrected, figures.pictures
    return {
        "mean_error": ours.mean,
        "p25_error": ours.p25,
        "median_error": ours.median,
        "p75_error": ours.p75,
        "mean_error_interval": ours.mean_interval,
        "median_error_interval": ours.median_interval,
        "pictures_mean_error": pictures.mean,
        "pictures_median_error": pictures.median,
    }


def _baseline(figures: EstimatorFigures) -> dict[str, Any]:
    ar1 = figures.following.ar1.model_dump() if figures.following else {}
    ours = figures.following.ours.model_dump() if figures.following else {}
    return {
        **{f"ar1_{name}_error": ar1.get(name) for name in ("mean", "p25", "median", "p75")},
        **{f"following_{name}_error": ours.get(name) for name in ("mean", "median")},
    }


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
    return BitrateReport(bundle=bundle, timings=tuple(timings), **timings[0].model_dump())


def bitrate_tables(report: BitrateReport) -> Group:
    """Table 1, and the first timing by setting and by clip."""
    table = _table("Relative error of estimated bytes", "segments", "method")
    for name in ("mean", "95 % over drives", "P25", "median", "P75", "count"):
        table.add_column(name, justify="right")
    for row in report.timings:
        ar1 = (row.ar1_p25_error, row.ar1_median_error, row.ar1_p75_error)
        ours = (row.p25_error, row.median_error, row.p75_error)
        alone = (None, row.pictures_median_error, None)
        table.add_row(row.timing, "AR(1)", _percent(row.ar1_mean_error), "", *_cells(*ar1))
        table.add_row("", "pictures alone", _percent(row.pictures_mean_error), "", *_cells(*alone))
        interval = _range(row.mean_error_interval)
        table.add_row("", "ours", _percent(row.mean_error), interval, *_cells(*ours), str(row.segments))
        table.add_row("", f"intervals of {row.coverage:.0%} hold", f"{row.covered:.1%}", end_section=True)
    return Group(table, _settings(report), _clips(report))


def _settings(report: BitrateReport) -> Table:
    table = _table(f"By setting ({report.timing})", "scale", "QP")
    for name in ("mean", "median"):
        table.add_column(name, justify="right")
    for row in report.by_setting:
        table.add_row(f"{row.scale:g}", str(row.qp), *_cells(row.mean_error, row.median_error))
    return table


def _clips(report: BitrateReport) -> Table:
    table = _table(f"By clip ({report.timing})", "clip", "native size")
    for name in ("segments", "mean", "median"):
        table.add_column(name, justify="right")
    for name, row in report.by_clip.items():
        size = "{}x{}".format(*row.native_size)
        table.add_row(name, size, str(row.segments), *_cells(row.mean_error, row.median_error))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column)
    return table


def _cells(*values: float | None) -> list[str]:
    return [_percent(value) for value in values]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _range(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1%} to {ends[1]:.1%}"
