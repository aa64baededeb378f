"""`--save`: a video of the input beside its coloured segmentation, with what was chosen and what it took."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from clients.codec import Image, rgb
from clients.display import accuracy
from clients.errors import CameraError
from clients.palette import palette
from clients.segment import SegmentResult

PANEL_WIDTH = 640
HEADER, LEGEND_ROW, MARGIN = 44, 26, 12  # pixels
BLEND = 0.62  # share of the class colour over the picture


class Recorder:
    """Writes each answered segment at once; the file can be played even if the camera is killed.

    Dropped segments have no label maps and are left out; the next header counts them. Needs answers with
    `masks="all"`. Raises `CameraError` if the file cannot be written.
    """

    def __init__(self, path: Path, classes: Sequence[str], fps: float, size: tuple[int, int]) -> None:
        self._classes, self._palette = classes, palette(classes)
        self._panel = PANEL_WIDTH, max(2, 2 * round(PANEL_WIDTH * size[1] / size[0] / 2))
        self._font, self._small = ImageFont.load_default(18), ImageFont.load_default(14)
        self._legend = self._draw_legend()
        self._dropped = 0
        self._rate = Fraction(fps).limit_denominator(1000)
        # Fragments, so that what was written so far is a whole file at any time.
        flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        try:
            self._container = av.open(str(path), "w", format="mp4", options=flags)
        except (av.FFmpegError, OSError) as error:
            raise CameraError(f"cannot write {path}: {error}") from error
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.width = 2 * self._panel[0]
        self._stream.height = HEADER + self._panel[1] + self._legend.shape[0]
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"preset": "veryfast", "crf": "20", "g": str(max(1, round(2 * fps)))}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Completes the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def add(self, result: SegmentResult) -> None:
        """Appends one segment's frames. Raises `ValueError` if the label maps are not whole."""
        if result.answer is None or result.answer.masks is None:
            self._dropped += 1
            return
        header = self._draw_header(result)
        self._dropped = 0
        maps = result.answer.masks.unpack()
        for index, frame in enumerate(result.frames):
            labels = maps[min(index, len(maps) - 1)]
            page = np.concatenate([header, self._panels(rgb(frame), labels), self._legend])
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(page, "rgb24")))

    def _panels(self, picture: Image, labels: NDArray[np.uint8]) -> Image:
        """The frame, and the frame under its class colours, side by side."""
        small = np.asarray(Picture.fromarray(picture).resize(self._panel, Picture.Resampling.BILINEAR))
        width, height = self._panel
        rows = np.arange(height) * labels.shape[0] // height
        columns = np.arange(width) * labels.shape[1] // width
        colours = self._palette[labels[rows[:, None], columns]]
        blended = (BLEND * colours + (1 - BLEND) * small).astype(np.uint8)
        return np.concatenate([small, blended], axis=1)

    def _draw_header(self, result: SegmentResult) -> Image:
        assert result.answer is not None  # add() looked
        picture = Picture.new("RGB", (2 * self._panel[0], HEADER), (18, 20, 24))
        parts = [f"segment {result.seq}", str(result.configuration), f"{(result.bytes or 0) / 1000:.0f} kB"]
        parts += [f"{result.latency_ms or 0:.0f} ms", f"cost {result.answer.cost:.3f}"]
        if predicted := accuracy(result.answer):
            parts.append(f"mIoU {predicted}")
        if self._dropped:
            parts.append(f"{self._dropped} dropped before")
        ImageDraw.Draw(picture).text((MARGIN, 11), "    ".join(parts), (236, 238, 240), self._font)
        return np.asarray(picture)

    def _draw_legend(self) -> Image:
        """Class names on their colours, in as many rows as they need; its height is even."""
        width = 2 * self._panel[0]
        places, x, y = [], MARGIN, 4
        for index, name in enumerate(self._classes):
            needed = round(self._small.getlength(name)) + 40
            if x + needed > width - MARGIN and x > MARGIN:
                x, y = MARGIN, y + LEGEND_ROW
            places.append((index, name, x, y))
            x += needed
        picture = Picture.new("RGB", (width, 2 * ((y + LEGEND_ROW + 5) // 2)), (18, 20, 24))
        draw = ImageDraw.Draw(picture)
        for index, name, x, y in places:
            draw.rectangle([x, y + 4, x + 15, y + 19], fill=tuple(int(c) for c in self._palette[index]))
            draw.text((x + 21, y + 4), name, (214, 216, 220), self._small)
        return np.asarray(picture)
