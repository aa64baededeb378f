"""Table 1 and what stands behind it, for the terminal: after training, over folds, and on any videos."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table

from rl.bitrate.comparison import KNOWLEDGE
from rl.bitrate.errors import ErrorFigures
from rl.bitrate.figures import EstimatorFigures
from rl.bitrate.report import BitrateReport
from rl.profiles.index import Kind


def bitrate_tables(report: BitrateReport) -> Group:
    """Table 1 of every timing, then the first timing by what is known, by setting and by clip."""
    table = _table_one()
    for timing in report.timings:
        _add_rows(table, timing.timing, timing.kinds)
    return Group(table, _known(report.timing, report.headline), _settings(report), _clips(report))


def figures_tables(title: str, kinds: Mapping[Kind, EstimatorFigures]) -> Group:
    """Table 1 of one estimator, or of several on drives of their own, and by what is known."""
    table = _table_one()
    _add_rows(table, title, kinds)
    return Group(table, *(_known(f"{title}, {kind}", figures) for kind, figures in kinds.items()))


def _table_one() -> Table:
    names = ("mean", "95 % over drives", "P25", "median", "P75", "count")
    return _table("Relative error of estimated bytes", ("segments", "method"), names)


def _add_rows(table: Table, title: str, kinds: Mapping[Kind, EstimatorFigures]) -> None:
    for kind, figures in kinds.items():
        table.add_row(f"{title}, {kind}", "ours", *_cells(figures.corrected))
        table.add_row("", "ours, pictures alone", *_cells(figures.pictures))
        if (following := figures.following.get("all")) is not None:
            papers = following.known["base"]
            table.add_row("  that follow one", "AR(1)", *_cells(papers.ar1))
            table.add_row("", "ours, knowing as much", *_cells(papers.ours))
        table.add_row("", f"intervals hold {figures.covered:.1%} of sizes", end_section=True)


def _known(title: str, figures: EstimatorFigures) -> Table:
    names = ("AR(1) mean", "median", "ours mean", "median", "count")
    table = _table(f"By what is known of the segment before ({title})", ("cameras", "known"), names)
    for motion, following in figures.following.items():
        row = following.pictures
        table.add_row(motion, "nothing", "", "", *_percents(row.mean, row.median), str(row.segments))
        for known, pair in following.known.items():
            errors = (pair.ar1.mean, pair.ar1.median, pair.ours.mean, pair.ours.median)
            last = known == tuple(KNOWLEDGE)[-1]
            table.add_row("", KNOWLEDGE[known], *_percents(*errors), end_section=last)
    return table


def _settings(report: BitrateReport) -> Table:
    table = _table(f"By setting ({report.timing})", ("scale", "QP"), ("mean", "median"))
    for row in report.by_setting:
        table.add_row(f"{row.scale:g}", str(row.qp), *_percents(row.mean_error, row.median_error))
    return table


def _clips(report: BitrateReport) -> Table:
    names = ("segments", "mean", "median")
    table = _table(f"By clip ({report.timing})", ("clip", "native size"), names)
    for name, row in report.by_clip.items():
        size = "{}x{}".format(*row.native_size)
        table.add_row(name, size, str(row.segments), *_percents(row.mean_error, row.median_error))
    return table


def _table(title: str, words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in words:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _cells(row: ErrorFigures) -> list[str]:
    ends = "" if row.mean_interval is None else "{:.1%} to {:.1%}".format(*row.mean_interval)
    quartiles = _percents(row.p25, row.median, row.p75)
    return [*_percents(row.mean), ends, *quartiles, str(row.segments)]


def _percents(*values: float) -> list[str]:
    return [f"{value:.2%}" for value in values]
