"""Figures of a report: the ladder as a map, agreement against cost, and classes by variant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl.profiles.report import FamilyReport, Rung
from serving.miou import Floats

COLOURS = "cividis"  # reads the same with every kind of colour vision, and in grey
MARKERS = "osD^vP*Xh"  # one a variant: nothing is told by colour alone
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.dpi": 110,
}


def draw_figures(report: FamilyReport, folder: Path) -> list[Path]:
    """Writes `ladder.png`, `pareto.png` and `classes.png` of a report with clips; gives their paths."""
    if report.ladder is None or report.classes is None:
        raise ValueError("figures need a report with clips")
    with _figure(folder / "ladder.png", (1.5 + 1.15 * len(report.variants), 7.0)) as axes:
        _ladder(axes, report, report.ladder)
    with _figure(folder / "pareto.png", (7.5, 4.6)) as axes:
        _pareto(axes, report, report.ladder)
    with _figure(folder / "classes.png", (7.5, 1.6 + 0.3 * len(report.classes))) as axes:
        _classes(axes, report)
    return [folder / name for name in ("ladder.png", "pareto.png", "classes.png")]


@contextmanager
def _figure(path: Path, size: tuple[float, float]) -> Iterator[Axes]:
    """Axes of a figure of this size (inches), written to `path` at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        figure.savefig(path)


def _ladder(axes: Axes, report: FamilyReport, rungs: Sequence[Rung]) -> None:
    variants = len(report.variants)
    values = np.array([rung.agreement for rung in rungs]).reshape(-1, variants)
    settings = rungs[::variants]
    image = axes.imshow(values, cmap=COLOURS, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if value > 0.55 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
    axes.set_xticks(range(variants), [row.name for row in report.variants])
    axes.set_yticks(range(len(settings)), [f"scale {rung.scale:g}, QP {rung.qp}" for rung in settings])
    for row in range(1, len(settings)):
        if settings[row].scale != settings[row - 1].scale:
            axes.axhline(row - 0.5, color="white", linewidth=3)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("Agreement with the reference prediction (mIoU)")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.5, aspect=30)
    bar.outline.set_visible(False)


def _pareto(axes: Axes, report: FamilyReport, rungs: Sequence[Rung]) -> None:
    gflops = np.array([rung.cost for rung in rungs]) * report.gflops_720p[0]
    agreement = np.array([rung.agreement for rung in rungs])
    scales = sorted({rung.scale for rung in rungs}, reverse=True)
    for number, row in enumerate(report.variants):
        own = [index for index, rung in enumerate(rungs) if rung.variant == number]
        shade = [colormaps[COLOURS](0.1 + 0.8 * scales.index(rungs[i].scale) / len(scales)) for i in own]
        marker = MARKERS[number % len(MARKERS)]
        axes.scatter(
            gflops[own], agreement[own], s=34, c=shade, marker=marker, linewidths=0.5, edgecolors="white"
        )
        axes.scatter([], [], s=34, c="0.4", marker=marker, label=row.name)
    for index, scale in enumerate(scales):
        axes.scatter(
            [],
            [],
            s=60,
            marker="s",
            color=colormaps[COLOURS](0.1 + 0.8 * index / len(scales)),
            label=f"scale {scale:g}",
        )
    front = pareto_front(gflops, agreement)
    axes.step(
        gflops[front],
        agreement[front],
        where="post",
        color="0.25",
        linewidth=1.2,
        zorder=0,
        label="Pareto front",
    )
    axes.axhline(report.target, color="0.6", linewidth=1, linestyle=":")
    axes.annotate(
        f"target {report.target:g}",
        (gflops.max(), report.target),
        ha="right",
        va="bottom",
        color="0.4",
        textcoords="offset points",
        xytext=(0, 2),
    )
    axes.set_xscale("log")
    ticks = [
        t
        for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
        if gflops.min() * 0.8 <= t <= gflops.max() * 1.2
    ]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("GFLOPs a frame")
    axes.set_ylabel("agreement (mIoU)")
    axes.set_title("What a configuration costs, and what it gives")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)


def pareto_front(cost: Floats, value: Floats) -> list[int]:
    """Indices of the points that no other beats in both, from the cheapest to the best."""
    front: list[int] = []
    for index in np.lexsort((-value, cost)).tolist():
        if not front or value[index] > value[front[-1]]:
            front.append(index)
    return front


def _classes(axes: Axes, report: FamilyReport) -> None:
    variants = len(report.variants)
    rows = sorted((row for row in report.classes or () if row.share > 0), key=lambda row: row.share)
    for number, variant in enumerate(report.variants):
        ious = [_mean(row.agreement[number::variants]) for row in rows]
        shade = colormaps[COLOURS](0.05 + 0.85 * number / max(1, variants - 1))
        axes.scatter(
            ious,
            range(len(rows)),
            s=40,
            marker=MARKERS[number % len(MARKERS)],
            color=shade,
            label=variant.name,
            zorder=3,
            linewidths=0.5,
            edgecolors="white",
        )
    axes.set_yticks(range(len(rows)), [f"{row.name}  {_percent(row.share)}" for row in rows])
    axes.grid(axis="y", color="0.9", linewidth=1)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("IoU with the reference prediction, mean over compression settings")
    axes.set_title("Classes, with their share of the reference's pixels")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.45, -0.13), ncols=variants, handletextpad=0.1, columnspacing=1.2
    )


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
