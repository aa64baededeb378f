"""Figures of trained estimators as tables for the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from rl.bitrate.errors import ErrorFigures
from rl.bitrate.experiment import EstimatorFigures


def figures_table(title: str, figures: EstimatorFigures) -> Table:
    """AR(1), pictures alone and corrected, over all settings."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for name in ("method", "mean", "95 % over drives", "P25", "median", "P75", "segments"):
        table.add_column(name, justify="left" if name == "method" else "right")
    if figures.following is not None:
        table.add_row("AR(1)", *_cells(figures.following.ar1))
        table.add_row("ours, the same segments", *_cells(figures.following.ours))
    table.add_row("ours, pictures alone", *_cells(figures.pictures))
    table.add_row("ours", *_cells(figures.corrected))
    table.caption = f"{figures.covered:.1%} of sizes lie within their intervals"
    return table


def _cells(row: ErrorFigures) -> list[str]:
    ends = "" if row.mean_interval is None else "{:.1%} to {:.1%}".format(*row.mean_interval)
    numbers = [f"{value:.2%}" for value in (row.p25, row.median, row.p75)]
    return [f"{row.mean:.2%}", ends, *numbers, str(row.segments)]
