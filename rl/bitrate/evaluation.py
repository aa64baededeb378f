"""The body of `penance-evaluate bitrate`: any folder of videos through the camera's own estimator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from clients.bitrate import BitrateEstimator
from clients.calibration import Floats
from clients.errors import SourceError
from clients.luma import Luma, picture_change
from configs.bundle import Bundle, BundleError
from configs.timing import TIMINGS, SegmentTiming
from rl.bitrate.data import Seen, SizedSegments
from rl.bitrate.experiment import judged
from rl.bitrate.report import BitrateReport, TimingReport, bitrate_report, timing_report
from rl.profiles.clips import Clip, find_clips, read_segments
from rl.profiles.index import ClipIndex, load_drives
from rl.profiles.progress import segment_progress
from rl.profiles.sizes import SegmentSizes, encode_all, segment_sizes
from rl.profiles.store import SizesOrigin


@dataclass(frozen=True)
class Measured:
    """A segment without its pictures, and what the camera saw in them."""

    sizes: SegmentSizes
    seen: Floats  # (settings,) bytes from the pictures alone
    change: float


def evaluate_bitrate(
    bundle: Bundle, folder: Path, index: ClipIndex, segments: int | None, console: Console
) -> BitrateReport:
    """Every timing that the bundle has an estimator for. Clips that are not in the index are real, and their
    drives those of `configs/clips`. Raises `BundleError` and `SourceError`."""
    timings = [entry.timing for entry in bundle.manifest.estimators]
    if not timings:
        raise BundleError(f"{bundle.id} has no bitrate estimator: train one with penance-train bitrate")
    order = sorted(timings, key=lambda timing: (timing != TIMINGS[0], str(timing)))
    reports = [_evaluate_timing(bundle, timing, folder, index, segments, console) for timing in order]
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
    bundle: Bundle,
    timing: SegmentTiming,
    folder: Path,
    index: ClipIndex,
    segments: int | None,
    console: Console,
) -> TimingReport | None:
    clips = clips_with_rate(folder, timing, segments, console.print)
    if not clips:
        return None
    measured = [row for rows in _measure(bundle, timing, clips, console) for row in rows]
    names, drives = [row.sizes.clip for row in measured], load_drives()
    data = SizedSegments(
        timing,
        tuple(row.sizes for row in measured),
        tuple(index[name].drive if name in index else drives.of(name).name for name in names),
        tuple(index[name].kind if name in index else "real" for name in names),
    )
    seen = Seen(np.stack([row.seen for row in measured]), np.array([row.change for row in measured]))
    part = judged(seen, BitrateEstimator.of(bundle, timing).calibration, data)
    return timing_report(part, bundle.ladder.settings, {clip.name: clip.native_size for clip in clips})


def _measure(
    bundle: Bundle, timing: SegmentTiming, clips: list[Clip], console: Console
) -> Iterator[list[Measured]]:
    """Clip by clip; one thread each, because x264 and ONNX Runtime work outside Python's lock."""
    with (
        segment_progress(console) as progress,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        task = progress.add_task(str(timing), total=sum(len(clip.chosen) for clip in clips))

        def measure(clip: Clip) -> list[Measured]:
            rows: list[Measured] = []
            estimator, origin = BitrateEstimator.of(bundle, timing), SizesOrigin.of(bundle)
            last: Luma | None = None
            try:
                for segment in read_segments(clip):
                    bodies = encode_all(segment, bundle.ladder.settings, origin.codec)
                    sizes = segment_sizes(segment, bodies)
                    change = 1.0 if last is None else picture_change(last, sizes.luma[0])
                    rows.append(
                        Measured(replace(sizes, luma=sizes.luma[:0]), estimator.look(sizes.luma)[0], change)
                    )
                    last = sizes.luma[0]
                    progress.advance(task)
            except SourceError as error:
                console.print(f"breaks off: {error}")
            return rows

        yield from pool.map(measure, clips)
