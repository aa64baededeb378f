"""What the bitrate estimator looks at: the luma of a segment's frames at half their size (paper, 3.2.2).

Each full-size frame is read once, two rows at a time. Video that does not fill 1280x720 lies in the middle
of the input; a segment with fewer frames than the estimator has places repeats its last one there, which to a
codec is as good as no frame at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from clients.source import BOX, Frame

INPUT_SIZE = (BOX[1] // 2, BOX[0] // 2)  # (rows, columns)
BLANK = 128
"""Luma around video that does not fill the input."""

BLOCK = 4
"""Pixels to a side of the blocks by whose detail two pictures are compared."""

Luma = NDArray[np.uint8]


def half_luma(frames: Sequence[Frame]) -> Luma:
    """(frames, 360, 640): the mean of each 2x2 pixels. Raises `ValueError` for frames over 1280x720."""
    rows, columns = INPUT_SIZE
    picture = np.full((len(frames), rows, columns), BLANK, np.uint8)
    for target, frame in zip(picture, frames, strict=True):
        half = _halved(_full_luma(frame))
        if half.shape[0] > rows or half.shape[1] > columns:
            raise ValueError(
                f"expected frames of at most {BOX[0]}x{BOX[1]}, got one whose half is {half.shape[1]}x"
                f"{half.shape[0]}"
            )
        top, left = (rows - half.shape[0]) // 2, (columns - half.shape[1]) // 2
        target[top : top + half.shape[0], left : left + half.shape[1]] = half
    return picture


def fill_places(luma: Luma, places: int) -> Luma:
    """(places, 360, 640) from (frames, 360, 640). Raises `ValueError` for more frames than places."""
    if not 0 < len(luma) <= places:
        raise ValueError(f"the estimator has places for 1 to {places} frames, the segment has {len(luma)}")
    if len(luma) == places:
        return luma
    return np.concatenate([luma, luma[-1:].repeat(places - len(luma), 0)])


def picture_change(before: Luma, after: Luma) -> float:
    """How far one luma frame (rows, columns) shows other things than another: 0 the same, 1 nothing alike.

    One minus the correlation of their detail, which is each block's mean less that of its four neighbours:
    light that changes is no change, a camera that turns is. Frames without detail are the same.
    """
    one, other = _detail(before), _detail(after)
    power = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return 1.0 - max(0.0, float((one * other).sum()) / power) if power > 0 else 0.0


def _detail(luma: Luma) -> NDArray[np.float32]:
    rows, columns = (side // BLOCK for side in luma.shape)
    even = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns * BLOCK)
    summed = even.sum(1, dtype=np.uint16).reshape(rows, columns, BLOCK)
    mean = summed.sum(2, dtype=np.uint16) / np.float32(BLOCK**2)
    around = mean[:-2, 1:-1] + mean[2:, 1:-1] + mean[1:-1, :-2] + mean[1:-1, 2:]
    return np.asarray(mean[1:-1, 1:-1] - around / 4, np.float32)


def _full_luma(frame: Frame) -> Luma:
    """(height, width) without a copy where the frame is YUV already."""
    if not isinstance(frame, av.VideoFrame):
        frame = av.VideoFrame.from_ndarray(frame, "rgb24")
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p")
    plane = frame.planes[0]
    pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.asarray(pixels[:, : plane.width])


def _halved(luma: Luma) -> Luma:
    # Two neighbours are read as one number of 16 bits: whole rows then add up without strides.
    even = luma[: luma.shape[0] // 2 * 2, : luma.shape[1] // 2 * 2]
    pairs = even.view(np.uint16)
    upper, lower = pairs[0::2], pairs[1::2]
    total = (upper & 0xFF) + (upper >> 8)
    total += lower & 0xFF
    total += lower >> 8
    total += 2
    total >>= 2
    return total.astype(np.uint8)
