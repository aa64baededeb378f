"""The body of `penance-profile record`: every configuration on every segment, spread by Ray Data.

The work is cut into runs of a few successive segments of one clip. An actor reads a run, encodes each segment
at all settings, decodes each encode once, shows each decode to every variant once, and writes the segment's
files itself. What is on disk already is not done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from clients.errors import SourceError
from configs.bundle import Bundle
from configs.timing import SegmentTiming
from rl.cluster import ray_cluster
from rl.processor import describe_processor
from rl.profiles.clips import Clip, ClipSegment, open_clip, read_segments
from rl.profiles.evaluation import load_networks
from rl.profiles.index import ClipIndex
from rl.profiles.labels import UNLABELLED, LabelFolder
from rl.profiles.outcomes import segment_outcomes
from rl.profiles.progress import segment_progress
from rl.profiles.sizes import encode_all, segment_sizes
from rl.profiles.store import SizesOrigin, read_row, sizes_path, write_sizes
from rl.profiles.store_outcomes import OutcomesOrigin, outcomes_path, write_outcomes
from serving.vss.family import load_variant
from serving.vss.hardware import REFERENCE, Hardware, choose_hardware

RUN = 4
"""Segments of one task: few enough to spread, many enough that reading up to them costs little."""


@dataclass(frozen=True)
class Recording:
    """What is to be recorded, and where. Paths must mean the same on every machine of the cluster."""

    bundle: Path
    out: Path
    timing: SegmentTiming
    frame_stride: int
    outcomes: bool  # else sizes alone, for which no network runs
    labels: Path | None = None  # folder of true labels (`rl.profiles.labels`)
    gpus: bool = False  # every actor takes one

    def origin(self, loaded: Bundle) -> OutcomesOrigin:
        """What its outcomes depend on."""
        dtype = str(self.hardware.dtype).removeprefix("torch.")
        return OutcomesOrigin(family=loaded.family, frame_stride=self.frame_stride, dtype=dtype)

    @property
    def hardware(self) -> Hardware:
        """As servers on such a machine choose it; a recording is gone on with on machines that choose alike.
        Reference predictions are float32 everywhere."""
        chosen = choose_hardware()
        return chosen if self.gpus or chosen.device == "cpu" else REFERENCE

    def paths(self, loaded: Bundle, clip: str, index: int) -> list[Path]:
        """The files of one segment."""
        timing = str(self.timing)
        sizes = [sizes_path(self.out, timing, clip, index)]
        if not self.outcomes:
            return sizes
        return [*sizes, outcomes_path(self.out, timing, loaded.family, clip, index)]


class SegmentRecorder:
    """A Ray Data actor: one bundle's networks, ready to run."""

    def __init__(self, recording: Recording, threads: int) -> None:
        torch.set_num_threads(threads)
        self._recording = recording
        self._bundle = Bundle.load(recording.bundle)
        self._sizes = SizesOrigin.of(self._bundle)
        self._outcomes = recording.origin(self._bundle)
        torch.backends.cudnn.allow_tf32 = False  # reference predictions are float32 everywhere
        hardware = recording.hardware
        self._networks = load_networks(self._bundle, hardware) if recording.outcomes else []
        self._reference = load_variant(self._bundle, 0, threads, REFERENCE) if recording.outcomes else None
        labels, classes = recording.labels, self._bundle.manifest.classes
        self._labels = None if labels is None else LabelFolder.of(labels, classes)
        self._made_on = describe_processor()

    def __call__(self, task: dict[str, Any]) -> dict[str, Any]:
        """Records a run of segments; gives how many, and why it ended early if it did."""
        chosen = tuple(int(index) for index in task["segments"])
        clip = replace(open_clip(Path(task["file"]), None, self._recording.timing), chosen=chosen)
        done, problem = 0, ""
        try:
            for segment in read_segments(clip):
                self._record(replace(segment, clip=task["clip"]))
                done += 1
        except SourceError as error:
            problem = str(error)
        return {"clip": task["clip"], "done": done, "left": len(chosen) - done, "problem": problem}

    def _record(self, segment: ClipSegment) -> None:
        sizes_file, *outcomes_file = self._recording.paths(self._bundle, segment.clip, segment.index)
        bodies = encode_all(segment, self._bundle.ladder.settings, self._sizes.codec)
        if not sizes_file.exists():
            write_sizes(sizes_file, self._sizes, segment_sizes(segment, bodies))
        for path in outcomes_file:
            outcomes = segment_outcomes(
                segment,
                self._bundle.ladder,
                self._sizes.codec,
                self._networks,
                self._recording.frame_stride,
                bodies=bodies,
                labels=UNLABELLED if self._labels is None else self._labels.of_segment(segment),
                reference=self._reference,
            )
            write_outcomes(path, self._outcomes, outcomes, self._made_on)


def record(recording: Recording, index: ClipIndex, segments: int | None, console: Console) -> tuple[int, int]:
    """Records what is missing; gives how many segments were recorded, and how many there are.

    Of each clip at most `segments`, from its start, so that they follow one another. Raises `BundleError`,
    `SourceError`, and `ProfileError` where what is there already was made with something else.
    """
    bundle = Bundle.load(recording.bundle)
    if recording.labels is not None:
        LabelFolder.of(recording.labels, bundle.manifest.classes)  # tells its faults before the work begins
    clips = [(clip.name, open_timed(Path(clip.file), recording.timing)) for clip in index.clips]
    usable = [(name, clip) for name, clip in clips if clip is not None]
    total = sum(len(clip.chosen[:segments]) for _, clip in usable)
    tasks = [task for name, clip in usable for task in missing_runs(recording, bundle, name, clip, segments)]
    waiting = sum(len(task["segments"]) for task in tasks)
    console.print(f"{total} segments, {total - waiting} recorded already")
    if tasks:
        with segment_progress(console) as progress:
            bar = progress.add_task(str(recording.timing), total=total, completed=total - waiting)
            for row in _run(recording, tasks):
                progress.update(bar, advance=row["done"], description=row["clip"])
                if row["problem"]:
                    console.print(f"breaks off, {row['left']} segments missing: {row['problem']}")
    return waiting, total


def open_timed(path: Path, timing: SegmentTiming) -> Clip | None:
    """A clip cut by a timing; None where it is too short, or slower than a rate over the usual one."""
    try:
        clip = open_clip(path, None, timing)
    except SourceError:
        return None
    return clip if clip.keeps_the_rate else None


def missing_runs(
    recording: Recording, bundle: Bundle, name: str, clip: Clip, segments: int | None
) -> list[dict[str, Any]]:
    """Tasks for the segments of a clip that are not on disk yet. Raises `ProfileError`."""
    origins = (SizesOrigin.of(bundle), recording.origin(bundle))
    wanted = []
    for index in clip.chosen[:segments]:
        paths = recording.paths(bundle, name, index)
        for path, origin in zip(paths, origins, strict=False):
            if path.exists():
                read_row(path, origin)
        if not all(path.exists() for path in paths):
            wanted.append(index)
    runs = [wanted[start : start + RUN] for start in range(0, len(wanted), RUN)]
    return [{"clip": name, "file": str(clip.path), "segments": run} for run in runs]


def _run(recording: Recording, tasks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows as runs end, in any order."""
    import ray

    with ray_cluster():
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        actors = int(available.get("GPU" if recording.gpus else "CPU", 0))
        if actors < 1:
            raise SourceError("the cluster has no GPU: leave --gpus away")
        rows = ray.data.from_items(list(tasks), override_num_blocks=len(tasks)).map(
            SegmentRecorder,  # type: ignore[arg-type]
            fn_constructor_args=(recording, 1),
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
            num_cpus=1,
            num_gpus=1 if recording.gpus else 0,
        )
        yield from rows.iter_rows()
