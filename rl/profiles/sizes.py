"""What encoding a segment at every compression setting shows: bytes, types, motion (paper, 2.2.2, 3.2).

This part of a profile depends on the codec's flags alone, not on any network, so it outlives a change of
bundle. Frames are scaled once for all QPs of a scale; x264 is given the very pictures that a camera gives it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.motionvectors import MotionVectors
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from clients.codec import CodecFlags, encode_segment, scaled_size
from clients.luma import Luma, half_luma
from clients.protocol import SegmentFormat
from clients.source import Frame
from configs.ladder import CompressionSetting
from rl.profiles.clips import ClipSegment

MOTION_BINS = 129
"""Motion of 0 to 127 pixels, and of 128 and more."""


@dataclass(frozen=True, slots=True)
class SegmentSizes:
    """One segment's bytes, and what the bitrate estimator is given. Types and motion are those of the first
    compression setting, the most expensive one."""

    clip: str
    index: int
    format: SegmentFormat
    bytes: NDArray[np.int64]  # (settings,) size of the upload
    frame_types: str  # I, P or B of every frame, in the order in which they are shown
    motion: NDArray[np.int64]  # (2, MOTION_BINS) pixels whose block moved this far in x and in y
    luma: Luma  # (frames, 360, 640)


def encode_all(
    segment: ClipSegment, settings: Sequence[CompressionSetting], codec: CodecFlags
) -> list[bytes]:
    """The upload's body at every setting, as `encode_segment` makes it, each scale's frames scaled once."""
    rate = Fraction(segment.format.fps).limit_denominator(1000)
    scaled: dict[float, list[Frame]] = {}
    bodies = []
    for setting in settings:
        if setting.scale not in scaled:
            scaled[setting.scale] = _at_scale(segment, setting.scale)
        frames = scaled[setting.scale]
        bodies.append(encode_segment(frames, CompressionSetting(1.0, setting.qp), rate, codec))
    return bodies


def _at_scale(segment: ClipSegment, scale: float) -> list[Frame]:
    reformatter = VideoReformatter()
    width, height = scaled_size(segment.format.width, segment.format.height, scale)
    pictures = (
        frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame, "rgb24")
        for frame in segment.frames
    )
    return [
        reformatter.reformat(picture, width, height, "yuv420p", interpolation="LANCZOS")
        for picture in pictures
    ]


def segment_sizes(segment: ClipSegment, bodies: Sequence[bytes]) -> SegmentSizes:
    """What the bodies of all settings, the most expensive first, say of a segment."""
    frame_types, motion = _prediction(bodies[0])
    return SegmentSizes(
        clip=segment.clip,
        index=segment.index,
        format=segment.format,
        bytes=np.array([len(body) for body in bodies], np.int64),
        frame_types=frame_types,
        motion=motion,
        luma=half_luma(segment.frames),
    )


def _prediction(body: bytes) -> tuple[str, NDArray[np.int64]]:
    """Frame types, and (2, MOTION_BINS) pixels by how far their blocks' vectors reach."""
    types, motion = "", np.zeros((2, MOTION_BINS))
    with av.open(io.BytesIO(body), "r", format="mp4") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(stream):
            types += PictureType(frame.pict_type).name
            exported = frame.side_data.get("MOTION_VECTORS")
            if not isinstance(exported, MotionVectors):
                continue
            vectors = exported.to_ndarray()
            area = vectors["w"].astype(np.float64) * vectors["h"]
            for axis, field in enumerate(("motion_x", "motion_y")):
                pixels = np.abs(vectors[field] / np.maximum(vectors["motion_scale"], 1)).astype(np.int64)
                reach = np.minimum(pixels, MOTION_BINS - 1)
                motion[axis] += np.bincount(reach, weights=area, minlength=MOTION_BINS)
    return types, motion.astype(np.int64)
