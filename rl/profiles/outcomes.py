"""What all configurations make of a segment: bytes and accuracy (paper, 2.1.2), and profiles of many.

Each compression setting is encoded and decoded once, each variant sees each decode once. The first
configuration of the ladder is the most expensive one, so its label maps, the reference predictions, are
there before anything is compared with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from clients.codec import CodecFlags, DecodeLimits, Image, decode_segment, encode_segment
from clients.protocol import SegmentFormat
from configs.ladder import CompressionSetting, Ladder
from rl.profiles.clips import ClipSegment
from rl.profiles.miou import LEAST_SHARE, Floats, LabelMap, Overlap, overlap, segment_miou
from serving.vss.labels import label_maps
from serving.vss.network import Network


@dataclass(frozen=True, slots=True)
class SegmentOutcomes:
    """The outcomes of every configuration on one segment."""

    clip: str
    index: int
    bytes: NDArray[np.int64]  # (settings,) size of the upload
    overlap: Overlap  # with the reference prediction: (configurations, frames, classes)

    def miou(self, least_share: float = LEAST_SHARE) -> Floats:
        """(configurations,) accuracy in ladder order."""
        return segment_miou(self.overlap, least_share)


@dataclass(frozen=True, slots=True)
class Profile:
    """Outcomes on the segments of a set of clips, and what they were made with."""

    bundle: str
    ladder: Ladder
    classes: tuple[str, ...]
    costs: tuple[float, ...]  # of every configuration, the most expensive being 1
    codec: CodecFlags
    segments: tuple[SegmentOutcomes, ...]

    @property
    def bytes(self) -> NDArray[np.int64]:
        """(segments, settings)."""
        return np.stack([segment.bytes for segment in self.segments])

    def miou(self, least_share: float = LEAST_SHARE) -> Floats:
        """(segments, configurations)."""
        return np.stack([segment.miou(least_share) for segment in self.segments])

    def total_overlap(self) -> Overlap:
        """Pixels (configurations, classes) over all frames."""
        return Overlap(
            *(
                np.sum([getattr(segment.overlap, part).sum(-2) for segment in self.segments], axis=0)
                for part in ("reference", "predicted", "shared")
            )
        )


def segment_outcomes(
    segment: ClipSegment,
    ladder: Ladder,
    codec: CodecFlags,
    networks: Sequence[Network],
    frame_stride: int = 1,
    measured: Callable[[CompressionSetting], None] = lambda setting: None,
) -> SegmentOutcomes:
    """Measures every configuration; accuracy on every `frame_stride`-th frame, bytes of the whole segment.

    networks: one a variant, in float32. `measured` is called after each compression setting.
    """
    sizes, counts = [], []
    references: list[LabelMap] = []
    for setting in ladder.settings:
        data = compress(segment, setting, codec)
        sizes.append(len(data))
        frames = decompress(data, segment.format)[::frame_stride]
        for network in networks:
            maps = [predict(network, frame, segment.format) for frame in frames]
            references = references or maps
            counts.append([overlap(*pair, network.classes) for pair in zip(references, maps, strict=True)])
        measured(setting)
    return SegmentOutcomes(
        segment.clip,
        segment.index,
        np.array(sizes, np.int64),
        Overlap(
            np.array([[frame.reference for frame in counts[0]]]),
            np.array([[frame.predicted for frame in frames_of_one] for frames_of_one in counts]),
            np.array([[frame.shared for frame in frames_of_one] for frames_of_one in counts]),
        ),
    )


def compress(segment: ClipSegment, setting: CompressionSetting, codec: CodecFlags) -> bytes:
    """The upload's body, as the camera makes it."""
    rate = Fraction(segment.format.fps).limit_denominator(1000)
    return encode_segment(segment.frames, setting, rate, codec)


def decompress(data: bytes, form: SegmentFormat) -> list[Image]:
    """Frames as the server decodes them, at the size they were compressed at."""
    return decode_segment(data, DecodeLimits(width=form.width, height=form.height, frames=form.frames))


@torch.inference_mode()
def predict(network: Network, frame: Image, form: SegmentFormat) -> LabelMap:
    """The label map (height, width) of a decoded frame, upsampled to the segment's full size."""
    pixels = torch.from_numpy(frame).to(network.device)[None].permute(0, 3, 1, 2)
    logits = network(pixels.to(network.dtype).div_(255))
    labels: LabelMap = label_maps(logits, (form.height, form.width))[0].cpu().numpy()
    return labels
