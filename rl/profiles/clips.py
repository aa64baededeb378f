"""Segments of every video of a folder, as a camera would cut them (paper, 2.1.2).

Frames come through `clients.source`, so size, rate and interpolation are the camera's: within 1280x720 at the
video's own aspect ratio, 15 frames a second or what a slower video has. No frame is ever made up.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av

from clients.errors import SourceError
from clients.protocol import SegmentFormat
from clients.source import Frame, FramePicker, VideoSource
from configs.timing import TIMINGS, SegmentTiming


@dataclass(frozen=True, slots=True)
class Clip:
    """One video: `format` is what its segments have, the native fields what the file holds."""

    path: Path
    format: SegmentFormat
    native_size: tuple[int, int]  # (width, height) in square pixels
    native_fps: float | None
    chosen: tuple[int, ...]  # indices of the segments to take
    timing: SegmentTiming = TIMINGS[0]

    @property
    def keeps_the_rate(self) -> bool:
        """Whether it is as fast as its timing asks; the usual rate is for slower clips too."""
        return self.timing.fps <= TIMINGS[0].fps or self.format.frames == self.timing.frames

    @property
    def name(self) -> str:
        return self.path.stem


@dataclass(frozen=True, slots=True)
class ClipSegment:
    """One segment of a clip, uncompressed."""

    clip: str
    index: int
    format: SegmentFormat
    frames: list[Frame]
    times: tuple[float, ...]  # seconds from the clip's start at which each frame is shown


def video_files(folder: Path, pattern: str = "**/*") -> list[Path]:
    """Files of a folder that are videos by their names, sorted."""
    return [
        path
        for path in sorted(folder.glob(pattern))
        if path.is_file() and (mimetypes.guess_type(path.name)[0] or "").startswith("video/")
    ]


def find_clips(
    folder: Path, segments: int | None, notify: Callable[[str], None], timing: SegmentTiming = TIMINGS[0]
) -> list[Clip]:
    """Clips of a folder by name, each with at most `segments` evenly spaced ones (None: all).

    `notify` hears of videos that are left out, broken or shorter than one segment. Raises `SourceError` when
    none remains.
    """
    clips = []
    for path in video_files(folder, "*"):
        try:
            clips.append(open_clip(path, segments, timing))
        except SourceError as error:
            notify(f"left out: {error}")
    if not clips:
        raise SourceError(f"{folder}: holds no video of at least one segment")
    return clips


def open_clip(path: Path, segments: int | None = None, timing: SegmentTiming = TIMINGS[0]) -> Clip:
    """A clip with the choice of its segments. Raises `SourceError`."""
    source = VideoSource(str(path), seconds=timing.seconds, fps=timing.fps)
    count = len(_frame_times(path, source.format.fps)) // source.format.frames
    if count == 0:
        raise SourceError(f"{path}: shorter than one segment ({source.format.frames} frames)")
    chosen = evenly_spaced(count, count if segments is None else segments)
    return Clip(path, source.format, source.native_size, source.native_fps, chosen, timing)


def read_segments(clip: Clip) -> Iterator[ClipSegment]:
    """The chosen segments of a clip, in order. Raises `SourceError` where the video is damaged."""
    frames, times = clip.format.frames, _frame_times(clip.path, clip.format.fps)
    source = VideoSource(str(clip.path), seconds=clip.timing.seconds, fps=clip.timing.fps)
    for index, segment in enumerate(source.segments()):
        if index in clip.chosen:
            shown = tuple(times[index * frames : (index + 1) * frames])
            yield ClipSegment(clip.name, index, clip.format, segment, shown)
        if index == clip.chosen[-1]:
            return


def evenly_spaced(count: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` of `count` indices: the middles of as many equal parts."""
    parts = min(count, max(1, wanted))
    return tuple((2 * part + 1) * count // (2 * parts) for part in range(parts))


def _frame_times(path: Path, fps: float) -> list[float]:
    """Times (s) of the frames that a source at `fps` picks, from packets alone, without decoding."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or 0)
        shown = sorted(packet.pts * base for packet in container.demux(stream) if packet.pts is not None)
    picker = FramePicker(fps)
    return [time for time in shown if picker.wants(time)]
