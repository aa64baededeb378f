"""The commands of the bitrate estimator, joined to `penance-train` and `penance-evaluate` by `rl.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.bundle import DEFAULT_BUNDLE
from rl.arguments import (
    EVALUATE,
    TRAIN,
    BundleFolder,
    IndexFile,
    JsonFile,
    ProfileFolder,
    RecipeFile,
    Timing,
    told_in_one_line,
)


def train_bitrate_estimator(
    profile: ProfileFolder,
    index: IndexFile,
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of the estimators, one a timing")],
    timing: Timing = "1s-15fps",
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Learns from the drives for train, calibrates on those for val, and is judged on those for test."""
    from rich.console import Console

    from configs.bundle import Bundle
    from configs.timing import SegmentTiming
    from rl.bitrate.commands import train_bitrate
    from rl.bitrate.recipe import load_bitrate_recipe
    from rl.bitrate.tables import figures_tables
    from rl.profiles.index import read_index

    console = Console()
    with told_in_one_line(TRAIN):
        figures = train_bitrate(
            profile,
            read_index(index),
            Bundle.load(bundle),
            SegmentTiming.parse(timing),
            load_bitrate_recipe(recipe),
            out,
            console,
        )
    if figures:
        console.print(figures_tables(f"test drives, {timing}", figures))
    console.print(f"the estimator lies in {out / timing}; penance-train add-bitrate puts it into a bundle")


def add_bitrate_estimators(
    estimators: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="folder that penance-train bitrate wrote")
    ],
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Puts trained estimators into a bundle and seals it again; its family stays what it was."""
    from rl.bitrate.export import add_to_bundle

    with told_in_one_line(TRAIN):
        manifest = add_to_bundle(estimators, bundle)
    timings = ", ".join(str(entry.timing) for entry in manifest.estimators)
    typer.echo(f"bundle {manifest.id} in {bundle} has bitrate estimators for {timings}")


def evaluate_bitrate_estimator(
    clips: Annotated[Path, typer.Option(exists=True, file_okay=False, help="any folder of videos")],
    index: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="TSV that says which of them are generated"),
    ] = None,
    bundle: BundleFolder = DEFAULT_BUNDLE,
    segments: Annotated[int | None, typer.Option(min=1, help="at most this many of each clip")] = None,
    json: JsonFile = None,
) -> None:
    """Table 1: relative errors of the bundle's estimators, against AR(1), on any folder of videos."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.bitrate.evaluation import evaluate_bitrate
    from rl.bitrate.tables import bitrate_tables
    from rl.profiles.index import ClipIndex, read_index

    console = Console()
    with told_in_one_line(EVALUATE):
        known = read_index(index) if index else ClipIndex([])
        report = evaluate_bitrate(Bundle.load(bundle), clips, known, segments, console)
    console.print(bitrate_tables(report))
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")


def evaluate_bitrate_folds(
    profile: ProfileFolder,
    index: IndexFile,
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(file_okay=False, help="outcome of every fold; those there stay")],
    timing: Timing = "1s-15fps",
    folds: Annotated[int, typer.Option(min=3, help="groups of whole drives")] = 8,
    only: Annotated[list[int] | None, typer.Option(min=0, help="only these folds, from 0")] = None,
    bundle: BundleFolder = DEFAULT_BUNDLE,
    json: JsonFile = None,
) -> None:
    """Judges a recipe on every drive by estimators that never saw it: drives are left out in groups."""
    from rich.console import Console

    from configs.bundle import Bundle
    from configs.timing import SegmentTiming
    from rl.bitrate.commands import validate_bitrate, write_figures
    from rl.bitrate.recipe import load_bitrate_recipe
    from rl.bitrate.tables import figures_tables
    from rl.profiles.index import read_index

    console = Console()
    with told_in_one_line(EVALUATE):
        figures = validate_bitrate(
            profile,
            read_index(index),
            Bundle.load(bundle),
            SegmentTiming.parse(timing),
            load_bitrate_recipe(recipe),
            folds,
            only or range(folds),
            out,
            console,
        )
    console.print(figures_tables(f"drives left out, {timing}", figures))
    if json is not None:
        write_figures(json, figures)


def compare_generated_scenes(
    profile: ProfileFolder,
    index: IndexFile,
    timing: Timing = "1s-15fps",
    bundle: BundleFolder = DEFAULT_BUNDLE,
    json: JsonFile = None,
) -> None:
    """How like real 720p video generated scenes are: sizes, ratios between settings, autocorrelation."""
    from pydantic import TypeAdapter
    from rich.console import Console

    from configs.bundle import Bundle
    from configs.timing import SegmentTiming
    from rl.bitrate.data import load_sizes
    from rl.bitrate.likeness import LikenessRow, full_size_clips, likeness, likeness_table
    from rl.profiles.index import read_index
    from rl.profiles.store import SizesOrigin

    with told_in_one_line(EVALUATE):
        loaded, known = Bundle.load(bundle), read_index(index)
        chosen, origin = full_size_clips(known), SizesOrigin.of(loaded)
        data = load_sizes(profile, SegmentTiming.parse(timing), origin, known, chosen)
        rows = likeness(data.of_kind("real"), data.of_kind("generated"), loaded.ladder.settings)
    Console().print(likeness_table(rows))
    if json is not None:
        json.write_bytes(TypeAdapter(list[LikenessRow]).dump_json(rows, indent=1) + b"\n")
