"""`penance-train` and `penance-evaluate`: everything that learns, and everything that measures learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.bundle import BUNDLES_DIRECTORY, DEFAULT_BUNDLE
from rl.adapter.cli import add_adapter, evaluate_adapter, train_encoder, train_policy
from rl.arguments import (
    RECIPES,
    BundleFolder,
    Data,
    IndexFile,
    JsonFile,
    ProfileFolder,
    RecipeFile,
    told_in_one_line,
)
from rl.bitrate.cli import (
    add_bitrate_estimators,
    compare_generated_scenes,
    evaluate_bitrate_estimator,
    evaluate_bitrate_folds,
    train_bitrate_estimator,
)

train = typer.Typer(no_args_is_help=True, help="Trains what a bundle holds.")
evaluate = typer.Typer(no_args_is_help=True, help="Measures what a bundle is worth.")


@train.callback()
def _training_commands() -> None:
    """Trains what a bundle holds."""


@evaluate.callback()
def _evaluation_commands() -> None:
    """Measures what a bundle is worth."""


@train.command("family")
def train_segmentation_family(
    recipe: RecipeFile,
    data: Data,
    out: Annotated[Path, typer.Option(help="folder of checkpoints; a killed run goes on from there")],
    bundle: Annotated[
        Path | None, typer.Option(help="folder to write; by default configs/bundles/NAME")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="bundle whose variant 0 to go on from, widened"),
    ] = None,
    dense: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="bundle whose variant 0 to keep and prune anew"),
    ] = None,
    refine: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="bundle whose variant 0 to keep, fine-tuning the others further",
        ),
    ] = None,
) -> None:
    """Trains variant 0, prunes the others from it, measures all and seals the bundle."""
    from configs.bundle import Bundle
    from configs.ladder import load_ladder
    from rl.vss.bundling import make_bundle
    from rl.vss.evaluate import measure_family
    from rl.vss.family import FamilyData, train_family
    from rl.vss.model_card import Origin
    from rl.vss.recipe import load_recipe
    from rl.vss.sources import sources_of
    from serving.vss.weights import load_network

    given = [folder for folder in (start, dense, refine) if folder is not None]
    if len(given) > 1:
        raise typer.BadParameter("variant 0 goes on from one bundle: give --start, --dense or --refine alone")
    settings, ladder = load_recipe(recipe), load_ladder()
    examples = FamilyData(data, settings)
    sources = sources_of(examples.clips())
    earlier = Bundle.load(given[0]) if given else None
    taken = range(len(ladder.variants) if refine else len(given))
    loaded = [load_network(earlier, number) for number in taken] if earlier else []
    networks = train_family(
        settings,
        ladder.variants,
        examples,
        out,
        start=loaded[0] if start else None,
        kept=[] if start else loaded,
    )
    figures = measure_family(
        networks, ladder.variants, settings.certainty, examples.camvid_test, examples.streets_test
    )
    directory = bundle or BUNDLES_DIRECTORY / settings.name
    origin = Origin(
        earlier.id if earlier else None,
        kept=dense is not None or refine is not None,
        refined=refine is not None,
    )
    manifest = make_bundle(directory, settings, ladder, networks, figures, sources, origin)
    typer.echo(f"bundle {manifest.id} lies in {directory}")


@train.command("import")
def import_onnx_family(
    spec: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="YAML file of the family")],
    out: Annotated[Path, typer.Option(help="folder of the bundle to write")],
) -> None:
    """Checks ONNX models of your own by running them and seals them into a bundle (docs/bundles.md)."""
    from configs.bundle import BundleError
    from rl.importing import import_family, load_spec

    try:
        manifest = import_family(load_spec(spec), out)
    except (BundleError, OSError) as error:
        typer.echo(f"penance-train: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"bundle {manifest.id} lies in {out}; serve it with PENANCE_BUNDLE={out}")


@evaluate.command("family")
def evaluate_segmentation_family(
    bundle: BundleFolder = DEFAULT_BUNDLE,
    data: Annotated[
        Path | None,
        typer.Option(envvar="PENANCE_DATA", exists=True, file_okay=False, help="without it: no accuracy"),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="folder of videos to measure the whole ladder on"),
    ] = None,
    segments: Annotated[
        int | None, typer.Option(min=1, help="at most this many segments a clip, evenly spaced")
    ] = None,
    frame_stride: Annotated[int, typer.Option(min=1, help="accuracy on every k-th frame of a segment")] = 1,
    json: Annotated[Path | None, typer.Option(help="also write the figures to this file")] = None,
    figures: Annotated[
        Path | None, typer.Option(file_okay=False, help="also draw figures and pictures into this folder")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="also write all tables, with the figures, as Markdown"),
    ] = None,
) -> None:
    """Cost, speed on this machine, accuracy of all variants of a bundle, and the ladder on any videos."""
    from rich.console import Console

    from clients.errors import SourceError
    from configs.bundle import Bundle, BundleError
    from rl.profiles.evaluation import evaluate_family
    from rl.profiles.page import write_page
    from rl.profiles.tables import tables

    console = Console()
    if figures is not None and clips is None:
        raise typer.BadParameter("figures show clips: give --clips too")
    if page is not None and figures is None:
        raise typer.BadParameter("the page shows the figures: give --figures too")
    try:
        report = evaluate_family(Bundle.load(bundle), data, clips, segments, frame_stride, figures, console)
    except (BundleError, SourceError) as error:
        raise typer.BadParameter(str(error)) from error
    console.print(tables(report))
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if page is not None and figures is not None:
        parts = ["penance-evaluate family", *(["--data DATA"] if data else []), "--clips CLIPS"]
        parts += [f"--segments {segments}"] if segments else []
        write_page(report, " ".join([*parts, f"--frame-stride {frame_stride}"]), figures, page)


@train.command("chain")
def rebuild_what_follows_from_a_family(
    index: IndexFile,
    profile: Annotated[Path, typer.Option(file_okay=False, help="folder of the profile; what fits stays")],
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of what is trained")],
    bitrate: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="recipe of the estimators")
    ] = RECIPES / "bitrate.yaml",
    encoder: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="recipe of the performance encoder")
    ] = RECIPES / "encoder" / "encoder.yaml",
    adapter: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="recipe of the policy")] = RECIPES
    / "adapter"
    / "adapter.yaml",
    bundle: BundleFolder = DEFAULT_BUNDLE,
    frame_stride: Annotated[int, typer.Option(min=1, help="accuracy on every k-th frame of a segment")] = 5,
    timing: Annotated[list[str] | None, typer.Option(help="timings, by default the paper's three")] = None,
    segments: Annotated[int | None, typer.Option(min=1, help="at most this many of each clip")] = None,
) -> None:
    """After a change of the bundle's networks: records its profile, trains estimators, performance encoder
    and policy, and puts them into it."""
    from rich.console import Console

    from configs.timing import TIMINGS, SegmentTiming
    from rl.adapter.encoder_recipe import load_encoder_recipe
    from rl.adapter.recipe import load_adapter_recipe
    from rl.bitrate.recipe import load_bitrate_recipe
    from rl.chain import ChainRecipes, rebuild_chain
    from rl.profiles.index import read_index

    with told_in_one_line("penance-train"):
        manifest = rebuild_chain(
            bundle.resolve(),
            read_index(index),
            profile.resolve(),
            out,
            ChainRecipes(
                load_bitrate_recipe(bitrate), load_encoder_recipe(encoder), load_adapter_recipe(adapter)
            ),
            frame_stride,
            [SegmentTiming.parse(text) for text in timing] if timing else TIMINGS,
            segments,
            Console(),
        )
    typer.echo(f"bundle {manifest.id} in {bundle} has estimators, encoder and policy")


@evaluate.command("measurements")
def draw_the_papers_measurements(
    profile: ProfileFolder,
    out: Annotated[Path, typer.Option(file_okay=False, help="folder of PNG and CSV files")],
    bundle: BundleFolder = DEFAULT_BUNDLE,
) -> None:
    """Figures 1 to 5, 8, 9 and 11 of the paper from a profile, with their numbers as CSV."""
    from configs.bundle import Bundle
    from rl.profiles.measurement_figures import draw_measurements

    with told_in_one_line("penance-evaluate"):
        paths = draw_measurements(profile, Bundle.load(bundle), out)
    for path in paths:
        typer.echo(path)


@evaluate.command("overhead")
def measure_what_runs_on_the_camera(bundle: BundleFolder = DEFAULT_BUNDLE, json: JsonFile = None) -> None:
    """Table 2: FLOPs and run time, with one thread, of what runs on the camera."""
    from pydantic import TypeAdapter
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.overhead import OverheadRow, measure_overhead, overhead_table

    with told_in_one_line("penance-evaluate"):
        rows = measure_overhead(Bundle.load(bundle))
    Console().print(overhead_table(rows))
    if json is not None:
        json.write_bytes(TypeAdapter(list[OverheadRow]).dump_json(rows, indent=1) + b"\n")


train.command("bitrate")(train_bitrate_estimator)
train.command("add-bitrate")(add_bitrate_estimators)
evaluate.command("bitrate")(evaluate_bitrate_estimator)
evaluate.command("bitrate-folds")(evaluate_bitrate_folds)
evaluate.command("likeness")(compare_generated_scenes)
train.command("encoder")(train_encoder)
train.command("adapter")(train_policy)
train.command("add-adapter")(add_adapter)
evaluate.command("adapter")(evaluate_adapter)
