"""The report as tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from rl.profiles.report import FamilyReport
from rl.vss.evaluate import figures_table

GOOD, POOR = (38, 166, 154), (200, 90, 60)  # ends of the colour scale from agreement 1 to 0.3


def tables(report: FamilyReport) -> Group:
    """All tables that the report has figures for."""
    parts: list[RenderableType] = [figures_table(f"{report.bundle} on {report.processor}", report.variants)]
    if report.ladder is not None:
        parts += [
            _ladder(report),
            _clips(report),
            _classes(report),
            _bandwidths(report),
            _least_shares(report),
        ]
        parts.append(Text(summary(report)))
    return Group(*(line for part in parts for line in (part, "")))


def _ladder(report: FamilyReport) -> Table:
    table = _table(
        "Agreement with the reference prediction (mIoU, mean over segments)", "scale", "QP", "kB/s"
    )
    for name in _names(report):
        table.add_column(name, justify="right")
    rows = list(by_setting(report))
    for index, (scale, qp, size, cells) in enumerate(rows):
        last = index + 1 == len(rows) or rows[index + 1][0] != scale
        table.add_row(
            f"{scale:g}" if index == 0 or rows[index - 1][0] != scale else "",
            str(qp),
            f"{size / 1e3:.0f}",
            *(_shaded(cell) for cell in cells),
            end_section=last,
        )
    return table


def by_setting(report: FamilyReport) -> Iterator[tuple[float, int, float, list[float]]]:
    """(scale, QP, bytes, agreement by variant) of every compression setting."""
    rungs, variants = report.ladder or (), len(report.variants)
    for start in range(0, len(rungs), variants):
        own = rungs[start : start + variants]
        yield own[0].scale, own[0].qp, own[0].bytes, [rung.agreement for rung in own]


def _clips(report: FamilyReport) -> Table:
    table = _table(
        "Clips: agreement by variant, mean over settings; below it that with pseudo-labels", "clip"
    )
    for heading in ("native", "fps", "segments", *_numbers(report)):
        table.add_column(heading, justify="right", no_wrap=True)
    for clip in report.clips or ():
        by_variant = _means(clip.agreement, len(report.variants))
        table.add_row(
            clip.name,
            f"{clip.native_size[0]}x{clip.native_size[1]}",
            f"{clip.fps:g}",
            str(clip.segments),
            *_beside(by_variant, clip.pseudo_labels),
        )
    return table


def _classes(report: FamilyReport) -> Table:
    table = _table("Classes: IoU by variant, mean over settings; below it that with pseudo-labels", "class")
    for heading in ("share", *_numbers(report)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(report.classes or (), key=lambda row: -row.share):
        by_variant = _means(row.agreement, len(report.variants))
        table.add_row(row.name, f"{row.share:.2%}", *_beside(by_variant, row.pseudo_labels))
    return table


def _bandwidths(report: FamilyReport) -> Table:
    title = f"Optimal and the best static configuration, target {report.target:g}"
    table = _table(title, "MB/s")
    for heading in ("cost", "Optimal fails", "binds", "binds cost", "static fails", "static"):
        table.add_column(heading, justify="right")
    rungs = report.ladder or ()
    for row in report.bandwidths or ():
        static = rungs[row.static]
        table.add_row(
            f"{row.bandwidth:g}",
            f"{row.cost:.3f}",
            f"{row.failure:.1%}",
            f"{row.binds:.1%}",
            f"{row.binds_cost:.1%}",
            f"{row.static_failure:.1%}",
            f"{static.scale:g} / {static.qp} / {static.variant}",
        )
    return table


def _least_shares(report: FamilyReport) -> Table:
    table = _table("Classes count from this share of a frame's pixels", "share")
    for heading in ("agreement", "outcomes that change sides", "segments whose cost changes"):
        table.add_column(heading, justify="right")
    for row in report.least_shares or ():
        table.add_row(
            f"{row.least_share:.2%}",
            f"{row.agreement:.3f}",
            f"{row.changed_sides:.1%}",
            f"{row.segments_changed:.1%}",
        )
    return table


def summary(report: FamilyReport) -> str:
    """What Optimal and the best static configuration do, in words; empty without clips."""
    optimal, rungs = report.optimal, report.ladder
    if optimal is None or rungs is None or report.best_static_failure is None:
        return ""
    most = rungs[optimal.most_used]
    return (
        f"Optimal uses {optimal.configurations} of {len(rungs)} configurations, {most.scale:g} / {most.qp} / "
        f"{most.variant} for {optimal.largest_share:.0%} of segments; it costs {optimal.cost:.3f} and fails "
        f"on {optimal.failure:.1%}. The best static configuration at its cost fails on "
        f"{report.best_static_failure:.1%}."
    )


def _table(title: str, *left: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for heading in left:
        table.add_column(heading, no_wrap=True)
    return table


def _names(report: FamilyReport) -> list[str]:
    return [row.name for row in report.variants]


def _numbers(report: FamilyReport) -> list[str]:
    return [str(number) for number in range(len(report.variants))]


def _means(values: Sequence[float | None], variants: int) -> list[float | None]:
    """Mean over compression settings by variant, from values of every configuration."""
    means: list[float | None] = []
    for variant in range(variants):
        known = [value for value in values[variant::variants] if value is not None]
        means.append(sum(known) / len(known) if known else None)
    return means


def _beside(agreement: Sequence[float | None], labels: Sequence[float | None] | None) -> list[Text]:
    cells = []
    for index, value in enumerate(agreement):
        cell = Text("-") if value is None else _shaded(value)
        if labels is not None:
            label = labels[index]
            cell.append("\n-" if label is None else f"\n{label:.3f}", Style(dim=True))
        cells.append(cell)
    return cells


def _shaded(agreement: float) -> Text:
    part = min(1.0, max(0.0, (agreement - 0.3) / 0.7))
    mixed = [round(poor + part * (good - poor)) for poor, good in zip(POOR, GOOD, strict=True)]
    return Text(f"{agreement:.3f}", Style(color=f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"))
