"""Frames to one H.264 segment at a compression setting, and back (paper, 2.1.2).

One way to encode for everything that touches video: x264 in constant-QP mode with its usual I and B
offsets, one preset, one thread, B-frames on, closed GOP, the first frame an IDR. The flags stand in the
bundle, because a profile or estimator made under other flags would be about other bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from av.stream import Stream
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clients.mp4 import names_other_files
from configs.ladder import CompressionSetting

Image = NDArray[np.uint8]  # (height, width, 3) RGB


class CodecFlags(BaseModel):
    """How x264 is driven; part of every bundle and every profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = "veryfast"
    bframes: int = Field(default=3, ge=0, le=16)


class DecodeError(ValueError):
    """The bytes are not the segment that was agreed on; the message says what was expected."""


class DecodeLimits(BaseModel):
    """What a segment may hold; checked before any frame is allocated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    frames: int = Field(gt=0)


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """(width, height) at a scale, rounded to the even sides that 4:2:0 chroma needs."""
    return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))


def encode_segment(
    frames: Sequence[av.VideoFrame | Image],
    setting: CompressionSetting,
    fps: Fraction | int,
    flags: CodecFlags = CodecFlags(),  # noqa: B008 - frozen
) -> bytes:
    """Encodes N frames of one size to an mp4 that decodes to exactly N frames.

    Each frame is filtered and converted once (Lanczos, RGB or YUV to 4:2:0 at the target size). Raises
    `ValueError` for no frames.
    """
    if not frames:
        raise ValueError("a segment needs at least one frame, got none")
    first = frames[0]
    sides = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape
    width, height = scaled_size(sides[1], sides[0], setting.scale)
    rate = Fraction(fps)
    x264 = (f"bframes={flags.bframes}", "open-gop=0", f"keyint={len(frames)}", f"min-keyint={len(frames)}")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = 1 / rate
        stream.options = {
            "preset": flags.preset,
            "qp": str(setting.qp),
            "x264-params": ":".join(x264),
        }
        reformatter = VideoReformatter()
        for index, frame in enumerate(frames):
            picture = (
                frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame, "rgb24")
            )
            picture = reformatter.reformat(picture, width, height, "yuv420p", interpolation="LANCZOS")
            picture.pts, picture.time_base = index, 1 / rate
            picture.pict_type = PictureType.NONE  # a decoded source's types must not steer x264
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def iterate_frames(data: bytes, limits: DecodeLimits) -> Iterator[av.VideoFrame]:
    """Decodes one segment frame by frame, refusing anything but what `limits` allow.

    Only the mp4 demuxer is tried, so playlists and other containers are refused by name, and references
    to other files are never followed. Raises `DecodeError`.
    """
    if names_other_files(data):
        raise DecodeError("expected samples inside the file, it says that they lie in another")
    try:
        container = av.open(
            io.BytesIO(data), "r", format="mp4", options={"enable_drefs": "0", "protocol_whitelist": "none"}
        )
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"expected an mp4 file holding one H.264 stream: {error}") from error
    with container:
        streams = list(container.streams)
        if len(streams) != 1 or streams[0].type != "video" or _codec(streams[0]) != "h264":
            found = ", ".join(f"{s.type} {_codec(s)}" for s in streams)
            raise DecodeError(f"expected exactly one H.264 video stream, found {found or 'none'}")
        stream = container.streams.video[0]
        _check_size(stream.codec_context.width, stream.codec_context.height, limits)
        if stream.frames > limits.frames:
            raise DecodeError(f"expected at most {limits.frames} frames, the file announces {stream.frames}")
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(limits.width * limits.height * 2)}
        count = 0
        try:
            for frame in container.decode(stream):
                count += 1
                if count > limits.frames:
                    raise DecodeError(f"expected at most {limits.frames} frames, the stream holds more")
                _check_size(frame.width, frame.height, limits)
                if frame.is_corrupt:
                    raise DecodeError(f"frame {count - 1} is damaged: send the whole segment again")
                yield frame
        except av.FFmpegError as error:
            raise DecodeError(f"the H.264 stream breaks off after {count} frames: {error}") from error


def _codec(stream: Stream) -> str:
    """The codec's name; streams that name none that FFmpeg knows have no context."""
    return stream.codec_context.name if stream.codec_context is not None else "of no known codec"


def _check_size(width: int, height: int, limits: DecodeLimits) -> None:
    if not (0 < width <= limits.width and 0 < height <= limits.height):
        raise DecodeError(
            f"expected frames of at most {limits.width}x{limits.height}, found {width}x{height}"
        )


def iterate_rgb(data: bytes, limits: DecodeLimits) -> Iterator[Image]:
    """The same frames as (height, width, 3) RGB. One converter for all, in one thread: a new one for each
    frame starts threads that wait for one another."""
    converter = VideoReformatter()
    for frame in iterate_frames(data, limits):
        yield np.asarray(converter.reformat(frame, format="rgb24", threads=1).to_ndarray(), np.uint8)


def decode_segment(data: bytes, limits: DecodeLimits) -> list[Image]:
    """All frames of a segment as RGB, each converted and copied once. Raises `DecodeError`."""
    return list(iterate_rgb(data, limits))


def rgb(frame: av.VideoFrame | Image) -> Image:
    """A frame as (height, width, 3) RGB; one that is RGB already is not copied."""
    return np.asarray(
        frame.to_ndarray(format="rgb24") if isinstance(frame, av.VideoFrame) else frame, np.uint8
    )
