"""The body of `penance-evaluate bitrate`: any folder of videos through the camera's own estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from clients.bitrate import BitrateEstimator, Floats
from clients.errors import SourceError
from configs.bundle import Bundle, BundleError
from configs.timing import TIMINGS, SegmentTiming
from rl.bitrate.data import SizedSegments
from rl.bitrate.experiment import judged
from rl.bitrate.report import BitrateReport, TimingReport, bitrate_report, timing_report
from rl.profiles.clips import Clip, find_clips, read_segments
from rl.profiles.index import load_drives
from rl.profiles.progress import segment_progress
from rl.profiles.sizes import SegmentSizes, encode_all, segment_sizes
from rl.profiles.store import SizesOrigin

Seen = tuple[SegmentSizes, Floats]


def evaluate_bitrate(bundle: Bundle, folder: Path, segments: int | None, console: Console) -> BitrateReport:
    """Every timing that the bundle has an estimator for. Raises `BundleError` and `SourceError`."""
    timings = [entry.timing for entry in bundle.manifest.estimators]
    if not timings:
        raise BundleError(f"{bundle.id} has no bitrate estimator: train one with penance-train bitrate")
    order = sorted(timings, key=lambda timing: (timing != TIMINGS[0], str(timing)))
    reports = [_evaluate_timing(bundle, timing, folder, segments, console) for timing in order]
    measured = [report for report in reports if report is not None]
    if not measured:
        raise SourceError(f"{folder}: no video has the rate that any of the bundle's estimators is for")
    return bitrate_report(bundle.id, measured)


def clips_with_rate(
    folder: Path, timing: SegmentTiming, segments: int | None, notify: Callable[[str], None]
) -> list[Clip]:
    """The clips of a folder for a timing: over the usual rate, only those that have that many frames.
    Of each at most `segments`, from its start, so that they follow one another. Raises `SourceError`."""
    found = find_clips(folder, None, notify, timing)
    return [replace(clip, chosen=clip.chosen[:segments]) for clip in found if clip.keeps_the_rate]


def _evaluate_timing(
    bundle: Bundle, timing: SegmentTiming, folder: Path, segments: int | None, console: Console
) -> TimingReport | None:
    clips = clips_with_rate(folder, timing, segments, console.print)
    if not clips:
        return None
    seen = [row for rows in _measure(bundle, timing, clips, console) for row in rows]
    drives = load_drives()
    data = SizedSegments(
        timing, tuple(sizes for sizes, _ in seen), tuple(drives.of(s.clip).name for s, _ in seen)
    )
    calibration = BitrateEstimator.of(bundle, timing).calibration
    part = judged(np.stack([estimate for _, estimate in seen]), calibration, data)
    native = {clip.name: clip.native_size for clip in clips}
    return timing_report(part, calibration, bundle.ladder.settings, native)


def _measure(
    bundle: Bundle, timing: SegmentTiming, clips: list[Clip], console: Console
) -> Iterator[list[Seen]]:
    """Clip by clip; one thread each, because x264 and ONNX Runtime work outside Python's lock."""
    with (
        segment_progress(console) as progress,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        task = progress.add_task(str(timing), total=sum(len(clip.chosen) for clip in clips))

        def measure(clip: Clip) -> list[Seen]:
            rows: list[Seen] = []
            estimator, origin = BitrateEstimator.of(bundle, timing), SizesOrigin.of(bundle)
            try:
                for segment in read_segments(clip):
                    bodies = encode_all(segment, bundle.ladder.settings, origin.codec)
                    sizes = segment_sizes(segment, bodies)
                    seen, _ = estimator.look(sizes.luma)
                    rows.append((replace(sizes, luma=sizes.luma[:0]), seen))
                    progress.advance(task)
            except SourceError as error:
                console.print(f"breaks off: {error}")
            return rows

        yield from pool.map(measure, clips)
