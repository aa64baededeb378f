"""What decoding takes in a replica's decoder processes, beside the same decoder in the process itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from clients.codec import DecodeLimits, decode_segment, scaled_size
from clients.protocol import SegmentFormat
from configs.bundle import Bundle, BundleError
from configs.ladder import Configuration
from configs.settings import Settings
from load_tests.benchmarks.arguments import write_figures
from load_tests.benchmarks.race import Contestant, Race, print_race, run_race
from load_tests.footage import Footage
from load_tests.progress import Ticker, console_for_tables
from serving.decode.pool import DecoderPool

FORM = SegmentFormat(seconds=1, fps=15, width=1280, height=720)


def decoding(
    turns: Annotated[int, typer.Option(min=1, help="of each way in a repeat")] = 20,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Milliseconds to the RGB frames of a segment, by scale and QP. A process of its own keeps hostile bytes
    from everything else; this says what that costs."""
    console = console_for_tables()
    try:
        bundle = Bundle.load(Settings().bundle)
    except BundleError as error:
        console.print(f"decoding: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    footage = Footage(bundle, FORM, stretches=1)
    dearest_and_least = (min(bundle.ladder.qps), max(bundle.ladder.qps))
    rungs = [
        bundle.ladder[bundle.ladder.index(scale, qp, 0)]
        for scale in bundle.ladder.scales
        for qp in dearest_and_least
    ]
    races = []
    for one in rungs:
        races.append(_race(one, footage, turns, repeats, Ticker(console, 2 * turns * repeats)))
        print_race(races[-1], console)
    write_figures(races, json)


def _race(one: Configuration, footage: Footage, turns: int, repeats: int, ticker: Ticker) -> Race:
    (body,) = footage.bodies(one)
    width, height = scaled_size(FORM.width, FORM.height, one.scale)
    limits = DecodeLimits(width=width, height=height, frames=FORM.frames)
    settings = Settings()
    with asyncio.Runner() as runner, ticker:
        pool = DecoderPool(
            1, settings.max_segment_bytes, settings.decode_timeout_s, settings.decode_memory_mb
        )

        async def in_the_pool() -> None:
            async with pool.decode(body, limits):
                pass

        try:
            runner.run(in_the_pool())
            contestants = [
                Contestant("in process", lambda: decode_segment(body, limits)),
                Contestant("decoder process", lambda: runner.run(in_the_pool())),
            ]
            title = (
                f"{one.scale:g}/{one.qp}: {len(body) / 1e3:.0f} kB, {width}x{height}, {FORM.frames} frames"
            )
            return run_race(title, "segment", contestants, turns, repeats, ticker)
        finally:
            runner.run(pool.close())


if __name__ == "__main__":
    typer.run(decoding)
