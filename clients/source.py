"""Video from a file, a webcam, a network camera or the demo scene, cut into segments of whole frames."""

from __future__ import annotations

import math
import platform
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from clients.codec import Image
from clients.errors import SourceError
from clients.protocol import SegmentFormat
from clients.retry import Backoff

Frame: TypeAlias = av.VideoFrame | Image
BOX = (1280, 720)
OPEN_TIMEOUT, READ_TIMEOUT = 10.0, 10.0  # seconds
_WEBCAM_FORMATS = {
    "Linux": ("v4l2", "/dev/video{}"),
    "Darwin": ("avfoundation", "{}"),
    "Windows": ("dshow", "video={}"),
}


def fit_size(width: int, height: int, box: tuple[int, int]) -> tuple[int, int]:
    """The largest even (width, height) of this aspect ratio in the box; smaller footage is enlarged."""
    scale = min(box[0] / width, box[1] / height)
    w, h = (max(32, 2 * round(side * scale / 2)) for side in (width, height))
    return min(box[0], w), min(box[1], h)


def frames_per_segment(seconds: float, fps: float, source_fps: float | None) -> int:
    """How many frames a segment holds: as asked, or the whole frames that a slower source has."""
    wanted = round(seconds * fps)
    if source_fps is None:
        return wanted
    return max(1, min(wanted, math.floor(seconds * source_fps + 0.05)))  # 14.99 fps serves as 15


class FramePicker:
    """Picks frames by their time so that `fps` a second remain; never asks for one twice.

    Every pick moves the next slot on by 1/fps, so the rate is exact on average whatever the source's is. A
    frame up to a quarter slot early counts as in time, because containers round times. After a gap, or
    when time jumps back, slots start anew instead of catching up in a burst.
    """

    def __init__(self, fps: float) -> None:
        self._slot = 1.0 / fps
        self._due: float | None = None
        self._last = -math.inf

    def wants(self, time: float) -> bool:
        """Whether to take the frame shown at `time` (seconds)."""
        if self._due is None or time < self._last or time - self._due > self._slot:
            self._due = time
        self._last = time
        if time < self._due - self._slot / 4:
            return False
        self._due += self._slot
        return True


class VideoSource:
    """Segments of one video. `format` is what the camera agrees on with the server; `native_size` (width,
    height) and `native_fps` are what the source says of itself.

    `location` is a file, a webcam's index ("0"), an RTSP or HTTP address, or `demo:` (`demo:SEED`) for a
    generated street. Raises `SourceError` with one clear line if it cannot be opened or is no video.
    """

    def __init__(
        self,
        location: str,
        *,
        seconds: float = 1.0,
        fps: float = 15.0,
        box: tuple[int, int] = BOX,
        loop: bool = False,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.location, self.loop, self._notify = location, loop, notify
        self._shown = without_login(location)
        self._closed = threading.Event()
        self.demo = location == "demo" or location.startswith("demo:")
        if self.demo:
            seed = location.partition(":")[2] or "0"
            if not seed.isdigit():
                raise SourceError(f"{location}: give demo: or demo:SEED with a whole number")
            self._seed, self.live = int(seed), False
            self._agree(1280, 720, None, seconds, fps, box)
            return
        with closing(self._open()) as container:
            stream = container.streams.video[0]
            self.live = location.isdigit() or ("://" in location and not container.duration)
            rate = stream.average_rate or stream.guessed_rate
            plausible = float(rate) if rate and 0 < rate <= 240 else None  # RTSP often announces nonsense
            aspect = stream.sample_aspect_ratio or Fraction(1)
            width, height = stream.codec_context.width, stream.codec_context.height
            if not width or not height:
                raise SourceError(f"{self._shown}: not a video (its picture size is unknown)")
            self._agree(round(width * float(aspect)), height, plausible, seconds, fps, box)

    def _agree(
        self, width: int, height: int, rate: float | None, seconds: float, fps: float, box: tuple[int, int]
    ) -> None:
        self.native_size, self.native_fps = (width, height), rate
        frames = frames_per_segment(seconds, fps, rate)
        width, height = fit_size(width, height, box)
        self.format = SegmentFormat(seconds=seconds, fps=frames / seconds, width=width, height=height)

    def close(self) -> None:
        """Ends `segments` at the next frame; may be called from another thread."""
        self._closed.set()

    def segments(self) -> Iterator[list[Frame]]:
        """Segments of exactly `format.frames` frames; what is left at the end is too short and not sent.

        A live source that breaks off is opened again, and the segment that was cut short is left out.
        """
        if self.demo:
            yield from self._demo_segments()
            return
        attempt = 0
        while not self._closed.is_set():
            count = 0
            try:
                for segment in self._pass():
                    yield segment
                    count += 1
                    attempt = 0
                problem = "ended"
            except (av.FFmpegError, SourceError) as error:
                if not self.live:
                    raise SourceError(f"{self._shown}: {_reason(error)}") from error
                problem = _reason(error)
            if not self.live:
                if count == 0 and not self._closed.is_set():
                    raise SourceError(
                        f"{self._shown}: shorter than one segment ({self.format.frames} frames)"
                    )
                if self.loop:
                    continue
                return
            if attempt == 0 and not self._closed.is_set():
                self._notify(f"{self._shown} broke off ({problem}); opening it again until it is back")
            attempt += 1
            self._closed.wait(0.2 + Backoff().delay(attempt, lambda: 1.0))

    def _demo_segments(self) -> Iterator[list[Frame]]:
        from clients.scene import StreetScene  # only the demo pays for drawing

        scene = StreetScene(self._seed, self.format.width, self.format.height)
        size, index = self.format.frames, 0
        while not self._closed.is_set():
            yield [scene.frame((index + i) / self.format.fps) for i in range(size)]
            index += size

    def _pass(self) -> Iterator[list[Frame]]:
        """All segments from opening the source to its end."""
        picker, reformatter = FramePicker(self.format.fps), VideoReformatter()
        segment: list[Frame] = []
        with closing(self._open()) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            nominal = float(stream.average_rate or self.format.fps)
            for index, frame in enumerate(container.decode(stream)):
                if self._closed.is_set():
                    return
                if not picker.wants(index / nominal if frame.time is None else frame.time):
                    continue
                segment.append(
                    reformatter.reformat(
                        frame, self.format.width, self.format.height, "yuv420p", interpolation="BICUBIC"
                    )
                )
                if len(segment) == self.format.frames:
                    yield segment
                    segment = []

    def _open(self) -> InputContainer:
        location, form, options = self.location, None, {}
        if location.isdigit():
            form, pattern = _WEBCAM_FORMATS.get(platform.system(), _WEBCAM_FORMATS["Linux"])
            location = pattern.format(location)
        elif location.startswith("rtsp"):
            options = {"rtsp_transport": "tcp"}  # lost UDP packets would be shown as grey smears
        elif "://" not in location and not Path(location).exists():
            raise SourceError(
                f"{location}: no such file (give a file, a webcam's number, an address or demo:)"
            )
        elif Path(location).is_dir():
            raise SourceError(f"{location}: a folder, not a video")
        try:
            container = av.open(location, format=form, options=options, timeout=(OPEN_TIMEOUT, READ_TIMEOUT))
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceError(f"{self._shown}: not a video that can be opened ({_reason(error)})") from error
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._shown}: not a video (no picture in it)")
        return container


def without_login(location: str) -> str:
    """An address as people may see it: a camera's password belongs into no log."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", location)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).strip()
