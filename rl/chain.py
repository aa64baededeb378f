"""The body of `penance-train chain`: everything that follows from a bundle's family, made anew in order.

After a change of the family, the profile's outcomes are another family's and are refused. The chain records
those that are missing, trains a bitrate estimator for each timing, and puts them into the bundle. Sizes do
not depend on networks: what is on disk of them stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from configs.bundle import Bundle
from configs.manifest import Manifest
from configs.timing import TIMINGS, SegmentTiming
from rl.bitrate.commands import train_bitrate
from rl.bitrate.export import add_to_bundle
from rl.bitrate.recipe import BitrateRecipe
from rl.profiles.index import ClipIndex
from rl.profiles.recording import Recording, record


def rebuild_chain(
    bundle: Path,
    index: ClipIndex,
    profile: Path,
    estimators: Path,
    recipe: BitrateRecipe,
    frame_stride: int,
    timings: Sequence[SegmentTiming],
    console: Console,
) -> Manifest:
    """Profile, estimators, bundle; each step goes on where it was. Only the first timing's outcomes are
    recorded, because cameras use that one.

    Raises `BundleError`, `ProfileError`, `SourceError` and `ValueError`.
    """
    for timing in timings:
        console.print(f"profile, {timing}")
        recording = Recording(bundle, profile, timing, frame_stride, outcomes=timing == TIMINGS[0])
        record(recording, index, None, console)
    for timing in timings:
        console.print(f"bitrate estimator, {timing}")
        train_bitrate(profile, index, Bundle.load(bundle), timing, recipe, estimators, console)
    return add_to_bundle(estimators, bundle)
