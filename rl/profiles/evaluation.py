"""The body of `penance-evaluate family`: loads a bundle, measures it, and gives the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from clients.codec import CodecFlags
from clients.errors import SourceError
from configs.bundle import Bundle
from rl.processor import describe_processor
from rl.profiles.clips import Clip, find_clips, read_segments
from rl.profiles.outcomes import Profile, SegmentOutcomes, segment_outcomes
from rl.profiles.progress import segment_progress
from rl.profiles.pseudo_labels import count_labels
from rl.profiles.report import FamilyReport, variants_report, with_profile
from rl.vss.datasets import load_camvid, load_streets
from rl.vss.evaluate import measure_bundle
from serving.vss.classes import STREET_CLASSES
from serving.vss.family import load_variant
from serving.vss.hardware import REFERENCE, Hardware
from serving.vss.network import Network


def load_networks(bundle: Bundle, hardware: Hardware = REFERENCE) -> list[Network]:
    """All variants in float32, whatever the machine would serve them in. Raises `BundleError`."""
    threads, numbers = torch.get_num_threads(), range(len(bundle.manifest.variants))
    return [load_variant(bundle, number, threads, hardware) for number in numbers]


def evaluate_family(
    bundle: Bundle,
    data: Path | None,
    clips: Path | None,
    segments: int | None,
    frame_stride: int,
    figures: Path | None,
    console: Console,
) -> FamilyReport:
    """Measures speed and cost, accuracy against labels in `data`, and the ladder on the videos of `clips`.

    Labels are of the 19 street classes: they judge only families that speak them. Raises `BundleError` and
    `SourceError`.
    """
    found = find_clips(clips, segments, console.print) if clips is not None else []
    networks = load_networks(bundle)
    labelled = data if bundle.manifest.classes == STREET_CLASSES else None
    streets = load_streets(labelled, "test") if labelled else []
    counts = count_labels(networks, streets)
    rows = measure_bundle(bundle, networks, load_camvid(labelled, "test") if labelled else [])
    report = variants_report(bundle.id, describe_processor(), rows, counts)
    if found:
        profile = record_profile(bundle, networks, found, frame_stride, console)
        report = with_profile(report, profile, found, counts)
        if figures is not None:
            from rl.profiles.figures import draw_figures
            from rl.profiles.pictures import draw_pictures

            draw_figures(report, figures)
            draw_pictures(bundle, networks, found, labelled, figures)
    return report


def record_profile(
    bundle: Bundle, networks: Sequence[Network], clips: Sequence[Clip], frame_stride: int, console: Console
) -> Profile:
    """Outcomes on all chosen segments. A clip that breaks off counts as far as it goes."""
    codec = CodecFlags.model_validate(bundle.manifest.codec)
    outcomes: list[SegmentOutcomes] = []
    with segment_progress(console, "settings") as progress:
        total = sum(len(clip.chosen) for clip in clips) * len(bundle.ladder.settings)
        task = progress.add_task("", total=total)
        for clip in clips:
            progress.update(task, description=clip.name)
            try:
                for segment in read_segments(clip):
                    outcomes.append(
                        segment_outcomes(
                            segment,
                            bundle.ladder,
                            codec,
                            networks,
                            frame_stride,
                            lambda setting: progress.advance(task),
                        )
                    )
            except SourceError as error:
                console.print(f"breaks off: {error}")
    if not outcomes:
        raise SourceError("no segment could be read from any clip")
    return Profile(bundle.id, bundle.ladder, bundle.manifest.classes, bundle.costs, codec, tuple(outcomes))
