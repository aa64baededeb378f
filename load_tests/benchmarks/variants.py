"""What each variant takes for a segment, as replicas run it, against the ideal: 1 - sparsity of the dense
one's time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from clients.codec import scaled_size
from clients.scene import StreetScene
from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.benchmarks.arguments import write_figures
from load_tests.benchmarks.race import Contestant, print_race, run_race
from load_tests.progress import Ticker, console_for_tables
from serving.deployments.variant import warm_engine
from serving.options import load_options

FRAMES = 15


def variants(
    turns: Annotated[int, typer.Option(min=1, help="of each variant in a repeat")] = 5,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Milliseconds a segment of 15 frames, by variant and scale: network, embedding's softmax and classes."""
    console, settings = console_for_tables(), Settings()
    try:
        bundle, options = Bundle.load(settings.bundle), load_options(settings.serving_file)
    except (BundleError, ValueError) as error:
        console.print(f"variants: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    torch.set_num_threads(options.variant(0).threads)
    entries = bundle.manifest.variants
    with console.status("Warming up ..."):
        engines = [warm_engine(bundle, index, options.variant(index)) for index in range(len(entries))]
    races = []
    for scale in bundle.ladder.scales:
        width, height = scaled_size(*bundle.manifest.frame, scale)
        scene = StreetScene(width=width, height=height)
        frames = np.stack([scene.frame(index / FRAMES) for index in range(FRAMES)])
        contestants = [
            Contestant(entry.name, partial(engine.run, frames), expected=1 - entry.sparsity)
            for entry, engine in zip(entries, engines, strict=True)
        ]
        with Ticker(console, turns * repeats * len(contestants)) as ticker:
            title = f"{bundle.id}, {width}x{height}, {FRAMES} frames"
            races.append(run_race(title, "segment", contestants, turns, repeats, ticker))
        print_race(races[-1], console)
    write_figures(races, json)


if __name__ == "__main__":
    typer.run(variants)
