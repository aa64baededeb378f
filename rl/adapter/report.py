"""The evaluation as one HTML file that needs nothing else, as JSON, and as a table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rl.adapter.evaluation import BY_BANDWIDTH, BY_TARGET, PAIRS, AdapterReport, MethodReport
from rl.adapter.figures import Figures, Interval, PairFigures
from rl.adapter.play import Pair
from rl.profiles.choice import TARGET
from rl.profiles.figures import STYLE

REPORT = "index.html"
PAPER = (
    "The paper has, at target 0.65 over 0.4 to 0.8 MB/s: failure rate 4.1 %, and 6.8 % more FLOPs than "
    "Optimal (Periodic Profiling 36.2 % and 36.7 %, DAO-C 34.4 % and 10.7 %, CASVA-C 60.5 %)."
)
CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color:
#222 } table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left }
small { color: #777 } svg { max-width: 100%; height: auto } h2 { margin-top: 2.5rem }
"""
COLOURS = "tab20"
HIGHEST_OVER = 3.0
"""Trade-off curves are drawn up to four times Optimal's FLOPs."""


def write_report(report: AdapterReport, folder: Path) -> Path:
    """Writes `folder`/index.html."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REPORT
    path.write_text(html_of(report), encoding="utf-8")
    return path


def html_of(report: AdapterReport) -> str:
    """The page."""
    methods = report.methods
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Adapters compared</title>",
        f"<style>{CSS}</style><h1>Adapters compared</h1>",
        f"<p>{escape(_about(report))}</p><p>{escape(PAPER)}</p>",
        "<h2>Target 0.65, over all bandwidths</h2>",
        _table(_HEADLINE, [(name, *_headline_cells(found)) for name, found in methods.items()]),
        "<h2>Failure against cost</h2>",
        "<p>Each line is one method that is told targets from 0.10 below to 0.25 above the one that it "
        "is judged by; the dot is the method as it is. Whoever only buys fewer failures moves along "
        "a line.</p>",
        _drawn(_draw_curves, methods),
        "<h2>By bandwidth, target 0.65 (Fig. 14)</h2>",
        _drawn(_draw_pairs, methods, BY_BANDWIDTH, "bandwidth"),
        _pairs_table(methods, BY_BANDWIDTH, "MB/s"),
        "<h2>By target, 0.6 MB/s (Fig. 15)</h2>",
        _drawn(_draw_pairs, methods, BY_TARGET, "target"),
        _pairs_table(methods, BY_TARGET, "target"),
        "<h2>By drive: failure rate and FLOPs over Optimal</h2>",
        _drives_table(methods),
    ]
    learnt = {name: found for name, found in methods.items() if found.learning}
    if learnt:
        parts += [
            "<h2>While they were learnt</h2>",
            "<p>Failure rate and cost by step, one line for each group of drives left out: of sampled "
            "choices, all targets and bandwidths, without margins; of PPO at its checkpoints, without "
            "sampling.</p>",
            *(_drawn(_draw_learning, learnt, phase) for phase in _phases(learnt)),
        ]
    if len({kind for found in methods.values() for kind in found.by_kind}) > 1:
        parts += ["<h2>Real and generated apart</h2>", _kinds_table(methods)]
    return "\n".join(parts) + "\n"


def headline_table(report: AdapterReport) -> Table:
    """For the terminal."""
    table = Table(title=_about(report), title_justify="left", box=SIMPLE_HEAD)
    for name in _HEADLINE:
        table.add_column(name, justify="left" if name == "method" else "right")
    for name, found in report.methods.items():
        table.add_row(name, *_headline_cells(found))
    return table


_HEADLINE = (
    "method",
    "failure",
    "where Optimal keeps it",
    "FLOPs over Optimal",
    "after the first segment",
    "dropped",
    "cost",
    "margins",
)


def _headline_cells(found: MethodReport) -> list[str]:
    return [
        _with_interval(found.failure_rate, found.failure_rate_interval),
        _with_interval(found.failure_rate_feasible, found.failure_rate_feasible_interval),
        _with_interval(found.flops_over_optimal, found.flops_over_optimal_interval),
        "-" if found.after_first is None else _both(found.after_first),
        f"{found.dropped:.1%}",
        f"{found.cost:.3f}",
        ", ".join(f"{margin:+.3g}" for margin in found.margins),
    ]


def _about(report: AdapterReport) -> str:
    judged = "test drives" if report.folds == 1 else f"drives left out in {report.folds} groups"
    binds = ", ".join(f"{share:.0%} at {bandwidth}" for bandwidth, share in report.binds.items())
    return (
        f"{report.segments} segments of {report.drives} drives, {report.bundle}; {judged}; intervals: 95 %, "
        f"whole drives drawn anew. Estimated bytes: {report.estimates}. Embeddings: {report.embeddings}; "
        f"answers come {report.lag} segments late. "
        f"Even Optimal fails on {report.infeasible:.1%}. Bandwidths (MB/s) bind on {binds} of the segments."
    )


def _with_interval(value: float | None, ends: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if ends is None else f"{value:.1%} ({ends[0]:.1%} to {ends[1]:.1%})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row(head, "th") + "".join(row(cells, "td") for cells in rows) + "</table>"


def _pairs_table(methods: Mapping[str, MethodReport], pairs: Sequence[Pair], what: str) -> str:
    values = [pair.bandwidth if what == "MB/s" else pair.target for pair in pairs]
    head = [
        "method",
        *(f"{what} {value:g}: {kind}" for value in values for kind in ("failure", "over Optimal")),
    ]
    rows = []
    for name, found in methods.items():
        cells = [
            text
            for pair in pairs
            for text in (
                f"{at(found, pair).failure_rate:.1%}",
                f"{at(found, pair).flops_over_optimal:+.1%}",
            )
        ]
        rows.append((name, *cells))
    return _table(head, rows)


def _drives_table(methods: Mapping[str, MethodReport]) -> str:
    drives = sorted({drive for found in methods.values() for drive in found.by_drive})
    rows = [
        (drive, *(_both(found.by_drive[drive]) for found in methods.values() if drive in found.by_drive))
        for drive in drives
    ]
    return _table(["drive", *methods], rows)


def _kinds_table(methods: Mapping[str, MethodReport]) -> str:
    kinds = sorted({kind for found in methods.values() for kind in found.by_kind})
    rows = [(name, *(_both(found.by_kind[kind]) for kind in kinds)) for name, found in methods.items()]
    return _table(["method", *kinds], rows)


def _both(found: Figures) -> str:
    return f"{found.failure_rate:.1%}, {found.flops_over_optimal:+.1%}"


def at(found: MethodReport, pair: Pair) -> PairFigures:
    """A method's figures at one pair of constraints."""
    return found.by_pair[PAIRS.index(pair)]


def _drawn(draw: Callable[..., None], *arguments: object) -> str:
    """An SVG element."""
    with rc_context({**STYLE, "svg.hashsalt": "penance"}):
        figure = Figure(figsize=(11, 4.6), layout="constrained")
        draw(figure, *arguments)
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    text = drawing.getvalue()
    return f"<figure>{text[text.index('<svg') :]}</figure>"


def _draw_curves(figure: Figure, methods: Mapping[str, MethodReport]) -> None:
    axes = figure.subplots()
    for number, (name, found) in enumerate(methods.items()):
        colour = _colour(number)
        points = [point for point in found.curve if point.flops_over_optimal <= HIGHEST_OVER]
        axes.plot(
            [100 * point.flops_over_optimal for point in points],
            [100 * point.failure_rate for point in points],
            "-",
            color=colour,
            alpha=0.6,
        )
        if found.flops_over_optimal <= HIGHEST_OVER:
            axes.plot(100 * found.flops_over_optimal, 100 * found.failure_rate, "o", color=colour, label=name)
    axes.set(xlabel="FLOPs over Optimal, %", ylabel="failure rate, %", ylim=(0, None))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _phases(learnt: Mapping[str, MethodReport]) -> list[str]:
    """In the order in which they come."""
    samples = (sample for found in learnt.values() for curve in found.learning for sample in curve)
    return list(dict.fromkeys(sample.phase for sample in samples))


def _draw_learning(figure: Figure, learnt: Mapping[str, MethodReport], phase: str) -> None:
    left, right = figure.subplots(1, 2)
    for number, (name, found) in enumerate(learnt.items()):
        for fold, curve in enumerate(found.learning):
            told = [sample for sample in curve if sample.phase == phase and "failure" in sample.figures]
            for axes, what, scale in ((left, "failure", 100), (right, "cost", 1)):
                axes.plot(
                    [sample.step for sample in told],
                    [scale * sample.figures[what] for sample in told],
                    color=_colour(number),
                    alpha=0.7,
                    linewidth=0.8,
                    label=name if told and not fold else None,
                )
    left.set(xlabel=f"{phase}: steps", ylabel="failure rate, %", ylim=(0, None))
    right.set(xlabel=f"{phase}: steps", ylabel="FLOPs, most expensive = 1", ylim=(0, None))
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper")


def _draw_pairs(
    figure: Figure, methods: Mapping[str, MethodReport], pairs: Sequence[Pair], what: str
) -> None:
    """Fig. 14 or 15: (a) mIoU, bars at the 25th percentile with the 10th and the median; (b) FLOPs."""
    left, right = figure.subplots(1, 2)
    width = 0.85 / len(methods)
    for number, (name, found) in enumerate(methods.items()):
        rows = [at(found, pair) for pair in pairs]
        places = [place + (number - len(methods) / 2) * width for place in range(len(pairs))]
        colour = _colour(number)
        quarter = [row.miou_p25 for row in rows]
        errors = [
            [row.miou_p25 - row.miou_p10 for row in rows],
            [row.miou_median - row.miou_p25 for row in rows],
        ]
        left.bar(places, quarter, width, color=colour, yerr=errors, error_kw={"linewidth": 0.7})
        right.bar(places, [row.cost for row in rows], width, color=colour, label=name)
    for axes in (left, right):
        axes.set_xticks(range(len(pairs)), [f"{getattr(pair, what):g}" for pair in pairs])
        axes.set_xlabel("bandwidth, MB/s" if what == "bandwidth" else "target mIoU")
    _mark_targets(left, pairs)
    left.set_ylabel("mIoU: 25th percentile, 10th, median")
    right.set_ylabel("FLOPs, most expensive = 1")
    figure.legend(loc="outside right upper")


def _colour(number: int) -> tuple[float, float, float, float]:
    found: tuple[float, float, float, float] = colormaps[COLOURS](number % 20)
    return found


def _mark_targets(axes: Axes, pairs: Sequence[Pair]) -> None:
    for place, pair in enumerate(pairs):
        axes.plot([place - 0.45, place + 0.45], [pair.target] * 2, color="black", linewidth=1)
    if {pair.target for pair in pairs} == {TARGET}:
        axes.set_title(f"target {TARGET}")
