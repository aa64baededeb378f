"""The report as a page: what `penance-evaluate family --page` writes, with its pictures beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rl.profiles.report import ClassRow, ClipRow, FamilyReport, Rung
from rl.profiles.tables import by_setting, summary
from rl.vss.evaluate import VariantFigures

Cells = Sequence[str]


def write_page(report: FamilyReport, command: str, figures: Path, page: Path) -> None:
    """Markdown with every table and the pictures that lie in `figures`."""
    pictures = Path(os.path.relpath(figures, page.parent))
    parts = [_variants(report, command)]
    if report.ladder is not None:
        parts += [_ladder(report, pictures), _choice(report), _clips(report), _classes(report, pictures)]
        parts += [_least_shares(report), _pictures(report, pictures)]
    page.write_text("\n".join(parts), encoding="utf-8")


def _variants(report: FamilyReport, command: str) -> str:
    first = report.variants[0].milliseconds

    def cells(number: int, row: VariantFigures) -> Cells:
        return (
            f"{number} {row.name}",
            f"{row.sparsity:g}",
            f"{row.parameters:,}",
            f"{row.gflops:.2f}",
            _fixed(row.camvid_miou),
            _fixed(row.streets_miou),
            f"{row.milliseconds:.1f}",
            f"{row.milliseconds / first:.3f}",
            f"{1 - row.sparsity:g}",
        )

    table = _table(
        (
            "variant",
            "sparsity",
            "parameters",
            "GFLOPs a 720p frame",
            "CamVid test, 11 classes",
            "pseudo-labels of the clips",
            "ms a frame",
            "of variant 0",
            "1 - s",
        ),
        (cells(number, row) for number, row in enumerate(report.variants)),
    )
    return (
        f"# {report.bundle}, measured\n\nBy one command, on drives that were never trained on:\n\n"
        f"```sh\n{command}\n```\n\n## Variants\n\n{table}\n"
        f"Milliseconds on {report.processor}: float32, from a 1280x720 tensor to logits, median of 15, the "
        "variants taking turns. CamVid: true labels, 19 classes merged to 11, one confusion matrix over the "
        "test images. SegNet pruned by ACoSP, as published: 0.555, 0.519, 0.501, 0.473, 0.423.\n"
    )


def _ladder(report: FamilyReport, pictures: Path) -> str:
    table = _table(
        ("scale", "QP", "kB/s", *(row.name for row in report.variants)),
        (
            (f"{scale:g}", str(qp), f"{size / 1e3:.0f}", *(_fixed(cell) for cell in cells))
            for scale, qp, size, cells in by_setting(report)
        ),
    )
    return (
        "## The ladder\n\nAgreement with the reference prediction (variant 0 at the best setting): mIoU of a "
        f"segment, mean over segments.\n\n![The ladder as a heat map]({pictures}/ladder.png)\n\n{table}\n"
        f"![Agreement against FLOPs, with the Pareto front]({pictures}/pareto.png)\n"
    )


def _choice(report: FamilyReport) -> str:
    rungs = report.ladder or ()
    table = _table(
        ("MB/s", "Optimal's cost", "fails", "bandwidth binds", "best static", "fails"),
        (
            (
                f"{row.bandwidth:g}",
                f"{row.cost:.3f}",
                f"{row.failure:.1%}",
                f"{row.binds:.1%}",
                _name(rungs[row.static]),
                f"{row.static_failure:.1%}",
            )
            for row in report.bandwidths or ()
        ),
    )
    segments = sum(clip.segments for clip in report.clips or ())
    return (
        f"## A choice that matters\n\nTarget {report.target:g}, these bandwidths, {segments} segments. "
        f"{summary(report)}\n\n{table}"
    )


def _clips(report: FamilyReport) -> str:
    rungs = report.ladder or ()
    shown = [rung for rung in rungs if _is_first_setting(rung, rungs) and rung.variant] + _thinned(rungs)
    indices = [rungs.index(rung) for rung in shown]

    def cells(clip: ClipRow) -> Cells:
        labels = ["-"] * len(report.variants)
        if clip.pseudo_labels is not None:
            labels = [f"{value:.2f}" for value in clip.pseudo_labels]
        return (
            clip.name,
            "{}x{}".format(*clip.native_size),
            *(f"{clip.agreement[index]:.2f}" for index in indices),
            ", ".join(labels),
        )

    table = _table(
        ("clip", "native", *(_name(rung) for rung in shown), "pseudo-labels, by variant"),
        (cells(clip) for clip in report.clips or ()),
    )
    return f"## By clip\n\nAgreement at (scale / QP / variant).\n\n{table}"


def _classes(report: FamilyReport, pictures: Path) -> str:
    variants = len(report.variants)

    def cells(row: ClassRow) -> Cells:
        return (
            row.name,
            f"{row.share:.1%}",
            ", ".join(_fixed(value, 2) for value in row.agreement[:variants]),
            ", ".join(_fixed(value, 2) for value in row.pseudo_labels or [None] * variants),
        )

    table = _table(
        ("class", "of pixels", "agreement by variant at the best setting", "IoU with pseudo-labels"),
        (cells(row) for row in report.classes or ()),
    )
    return f"## By class\n\n![IoU by class and variant]({pictures}/classes.png)\n\n{table}"


def _least_shares(report: FamilyReport) -> str:
    table = _table(
        ("least share of pixels", "mean agreement", "outcomes that change sides", "segments of other cost"),
        (
            (
                f"{row.least_share:.2%}",
                f"{row.agreement:.3f}",
                f"{row.changed_sides:.1%}",
                f"{row.segments_changed:.1%}",
            )
            for row in report.least_shares or ()
        ),
    )
    return f"## How much a class must hold to count\n\n{table}"


def _pictures(report: FamilyReport, pictures: Path) -> str:
    shown = "\n".join(
        f"![{clip.name.replace('_', ' ')}]({pictures}/{clip.name}.jpg)\n" for clip in report.clips or ()
    )
    return (
        "## Pictures\n\nInput, pseudo-label where there is one, and the variants at three compression "
        f"settings, with the agreement of that frame.\n\n{shown}"
    )


def _is_first_setting(rung: Rung, rungs: Sequence[Rung]) -> bool:
    return (rung.scale, rung.qp) == (rungs[0].scale, rungs[0].qp)


def _thinned(rungs: Sequence[Rung]) -> list[Rung]:
    """Variant 0 at every scale but the first, and at the strongest compression of the first."""
    dense = [rung for rung in rungs if rung.variant == 0]
    scaled = [rung for rung in dense if rung.scale != rungs[0].scale and rung.qp == rungs[0].qp]
    return [*scaled, [rung for rung in dense if rung.scale == rungs[0].scale][-1]]


def _name(rung: Rung) -> str:
    return f"{rung.scale:g} / {rung.qp} / {rung.variant}"


def _fixed(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _table(headings: Cells, rows: Iterable[Cells]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
