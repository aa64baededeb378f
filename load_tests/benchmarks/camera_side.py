"""What a segment costs the camera, in one thread: estimating sizes, choosing, compressing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from clients.adapter import AdapterPolicy
from clients.codec import CodecFlags, encode_segment
from configs.bundle import Bundle, BundleError
from configs.ladder import CompressionSetting
from configs.settings import Settings
from load_tests.benchmarks.arguments import write_figures
from load_tests.benchmarks.race import Contestant, print_race, run_race
from load_tests.progress import Ticker, console_for_tables
from rl.overhead import seen_segment


def camera_side(
    turns: Annotated[int, typer.Option(min=1, help="of each part in a repeat")] = 10,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Milliseconds a segment of 1280x720 by part, beside compressing it at the best setting."""
    console = console_for_tables()
    try:
        bundle = Bundle.load(Settings().bundle)
        contestants = parts(bundle)
    except (BundleError, ValueError) as error:
        console.print(f"camera_side: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    for contestant in contestants:
        contestant.run()
    with Ticker(console, turns * repeats * len(contestants)) as ticker:
        title = f"On a camera with {bundle.id}, 1280x720, one thread"
        race = run_race(title, "segment", contestants, turns, repeats, ticker)
    print_race(race, console)
    write_figures([race], json)


def parts(bundle: Bundle) -> list[Contestant]:
    """Compressing at the best setting and at the least of each scale, then what is decided before it. Raises
    `ValueError` where the bundle has no policy."""
    seen = seen_segment(bundle)
    policy = AdapterPolicy(bundle, bundle.ladder.configurations)
    estimate, frames = policy.estimate(seen), seen.frames
    flags = CodecFlags.model_validate(bundle.manifest.codec)
    least = [CompressionSetting(scale, max(bundle.ladder.qps)) for scale in bundle.ladder.scales]
    best = bundle.ladder[0].setting
    return [
        *(
            Contestant(
                f"compress at {setting.scale:g}/{setting.qp}",
                partial(encode_segment, frames, setting, len(frames), flags),
            )
            for setting in [best, *least]
        ),
        Contestant("estimate its sizes", partial(policy.estimate, seen)),
        Contestant("choose by them", partial(policy.decide, seen, estimate)),
        Contestant("estimate and choose", partial(policy.choose, seen)),
    ]


if __name__ == "__main__":
    typer.run(camera_side)
