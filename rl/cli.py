"""`penance-train` and `penance-evaluate`: everything that learns, and everything that measures learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from configs.bundle import BUNDLES_DIRECTORY, DEFAULT_BUNDLE

train = typer.Typer(no_args_is_help=True, help="Trains what a bundle holds.")
evaluate = typer.Typer(no_args_is_help=True, help="Measures what a bundle is worth.")

RecipeFile = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="YAML file of the recipe")]
Data = Annotated[
    Path, typer.Option(envvar="PENANCE_DATA", exists=True, file_okay=False, help="folder of data")
]
BundleFolder = Annotated[Path, typer.Option(exists=True, file_okay=False, help="folder of the bundle")]


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
) -> None:
    """Trains variant 0, prunes the others from it, measures all and seals the bundle."""
    from configs.ladder import load_ladder
    from rl.vss.bundling import make_bundle
    from rl.vss.datasets import labelled_clips
    from rl.vss.family import FamilyData, measured, train_family
    from rl.vss.recipe import load_recipe
    from rl.vss.sources import sources_of

    settings, ladder = load_recipe(recipe), load_ladder()
    examples = FamilyData(data, settings)
    sources = sources_of(labelled_clips(data, "train", settings.validation_drives))
    networks = train_family(settings, ladder.variants, examples, out)
    figures = measured(networks, ladder.variants, examples, out)
    directory = bundle or BUNDLES_DIRECTORY / settings.name
    manifest = make_bundle(directory, settings, ladder, networks, figures, sources)
    typer.echo(f"bundle {manifest.id} lies in {directory}")


@evaluate.command("family")
def evaluate_segmentation_family(
    bundle: BundleFolder = DEFAULT_BUNDLE,
    data: Annotated[
        Path | None,
        typer.Option(envvar="PENANCE_DATA", exists=True, file_okay=False, help="without it: no accuracy"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="also write the figures to this file")] = None,
) -> None:
    """Cost, speed on this machine, and accuracy of all variants of a bundle."""
    from rich.console import Console

    from configs.bundle import Bundle
    from rl.processor import describe_processor
    from rl.vss.datasets import load_camvid, load_streets
    from rl.vss.evaluate import FamilyReport, figures_table, measure_family
    from serving.vss.weights import load_network

    loaded = Bundle.load(bundle)
    specs = loaded.ladder.variants
    networks = [load_network(loaded, number) for number in range(len(specs))]
    camvid = load_camvid(data, "test") if data else []
    figures = measure_family(networks, specs, camvid, load_streets(data, "test") if data else [])
    report = FamilyReport(bundle=loaded.id, processor=describe_processor(), variants=tuple(figures))
    Console().print(figures_table(report))
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
