"""The body of `penance-train chain`: everything that follows from a bundle's family, made anew in order.

After a change of the family, the profile's outcomes are another family's and are refused. The chain records
those that are missing, trains a bitrate estimator for each timing, the performance encoder and the policy,
and puts all of them into the bundle. Sizes do not depend on networks: what is on disk of them stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from configs.bundle import Bundle
from configs.manifest import Manifest
from configs.timing import TIMINGS, SegmentTiming
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.export import add_policy
from rl.adapter.recipe import AdapterRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.training import train_adapter, train_encoders
from rl.bitrate.commands import train_bitrate
from rl.bitrate.export import add_to_bundle
from rl.bitrate.recipe import BitrateRecipe
from rl.profiles.index import ClipIndex
from rl.profiles.recording import Recording, record


@dataclass(frozen=True)
class ChainRecipes:
    """How each part is learnt."""

    bitrate: BitrateRecipe
    encoder: EncoderRecipe
    adapter: AdapterRecipe


def rebuild_chain(
    directory: Path,
    index: ClipIndex,
    profile: Path,
    runs: Path,
    recipes: ChainRecipes,
    frame_stride: int,
    timings: Sequence[SegmentTiming],
    segments: int | None,
    console: Console,
) -> Manifest:
    """Profile, estimators, encoder, policy, each into the bundle in `directory`. Recording goes on where it
    was, and so do the encoder and PPO; what is trained lies in `runs`/FAMILY. Outcomes are recorded of the
    first timing alone, because cameras use that one.

    Raises `BundleError`, `ProfileError`, `SourceError` and `ValueError`.
    """
    bundle = Bundle.load(directory)
    out = runs / bundle.family
    for timing in timings:
        console.print(f"profile, {timing}")
        recording = Recording(directory, profile, timing, frame_stride, outcomes=timing == TIMINGS[0])
        record(recording, index, segments, console)
    for timing in timings:
        console.print(f"bitrate estimator, {timing}")
        train_bitrate(profile, index, bundle, timing, recipes.bitrate, out / "bitrate", console)
    add_to_bundle(out / "bitrate", directory)
    console.print("performance encoder and policy")
    bundle, encoder = Bundle.load(directory), out / "encoder"
    recorded = Recorded.load(profile, index, bundle)
    train_encoders(recorded, bundle, recipes.encoder, 0, encoder, console)
    train_adapter(recorded, bundle, recipes.adapter, encoder, out / "adapter", console)
    return add_policy(out / "adapter", encoder, directory)
