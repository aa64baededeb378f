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
from torch import Tensor

from clients.codec import CodecFlags, DecodeLimits, Image, decode_segment, encode_segment
from clients.protocol import SegmentFormat
from configs.ladder import CompressionSetting, Ladder
from rl.profiles.clips import ClipSegment
from rl.profiles.labels import UNLABELLED, SegmentLabels
from rl.profiles.logits import Quantised, quantise
from rl.profiles.sizes import encode_all
from serving.miou import LEAST_SHARE, Floats, LabelMap, Overlap, labelled_overlap, overlap, segment_miou
from serving.vss.engine import for_encoder
from serving.vss.labels import label_maps
from serving.vss.network import Network


@dataclass(frozen=True, slots=True)
class SegmentOutcomes:
    """The outcomes of every configuration on one segment."""

    clip: str
    index: int
    bytes: NDArray[np.int64]  # (settings,) size of the upload
    overlap: Overlap  # with the reference prediction: (configurations, frames, classes)
    truth: Overlap | None = None  # with true labels, in the frames that have them: the same shape
    logits: tuple[Quantised, ...] = ()  # (configurations,) of the last frame, each (classes, h, w)

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
    bodies: Sequence[bytes] | None = None,
    labels: SegmentLabels = UNLABELLED,
    reference: Network | None = None,
) -> SegmentOutcomes:
    """Measures every configuration; accuracy on every `frame_stride`-th frame, counted back from the last,
    bytes of the whole segment.

    networks: one a variant. `reference` is variant 0 in float32, which makes the reference predictions; None
    where the first of `networks` is that. `measured` is called after each compression setting. `bodies` are
    what the settings encode to, where that is known already; `labels` are true ones.
    """
    bodies = encode_all(segment, ladder.settings, codec) if bodies is None else bodies
    seen = range((len(segment.frames) - 1) % frame_stride, len(segment.frames), frame_stride)
    known = labels.frames
    labelled = [(place, known[number]) for place, number in enumerate(seen) if number in known]
    counts, true_counts, logits = [], [], []
    references: list[LabelMap] = []
    for setting, body in zip(ladder.settings, bodies, strict=True):
        decoded = decompress(body, segment.format)
        frames = [decoded[number] for number in seen]
        if not references:
            references, _ = _predict_all(reference or networks[0], frames, segment.format)
        for network in networks:
            maps, last = _predict_all(network, frames, segment.format)
            counts.append([overlap(*pair, network.classes) for pair in zip(references, maps, strict=True)])
            true_counts.append(
                [
                    labelled_overlap(truth, labels.counts_as[maps[place]], network.classes)
                    for place, truth in labelled
                ]
            )
            logits.append(last)
        measured(setting)
    return SegmentOutcomes(
        segment.clip,
        segment.index,
        np.array([len(body) for body in bodies], np.int64),
        stacked(counts),
        stacked(true_counts) if labelled else None,
        tuple(logits),
    )


def stacked(counts: Sequence[Sequence[Overlap]]) -> Overlap:
    """(configurations, frames, classes) from counts of every frame; the reference stands once."""
    return Overlap(
        np.array([[frame.reference for frame in counts[0]]]),
        np.array([[frame.predicted for frame in frames] for frames in counts]),
        np.array([[frame.shared for frame in frames] for frames in counts]),
    )


def _predict_all(
    network: Network, frames: Sequence[Image], form: SegmentFormat
) -> tuple[list[LabelMap], Quantised]:
    """Label maps of all frames, and the last one's logits."""
    maps, logits = [], torch.empty(0)
    for frame in frames:
        logits = predict_logits(network, frame)
        maps.append(upsampled_labels(logits, form))
    return maps, quantise(for_encoder(logits)[0].cpu().numpy())


def compress(segment: ClipSegment, setting: CompressionSetting, codec: CodecFlags) -> bytes:
    """The upload's body, as the camera makes it."""
    rate = Fraction(segment.format.fps).limit_denominator(1000)
    return encode_segment(segment.frames, setting, rate, codec)


def decompress(data: bytes, form: SegmentFormat) -> list[Image]:
    """Frames as the server decodes them, at the size they were compressed at."""
    return decode_segment(data, DecodeLimits(width=form.width, height=form.height, frames=form.frames))


def predict(network: Network, frame: Image, form: SegmentFormat) -> LabelMap:
    """The label map (height, width) of a decoded frame, upsampled to the segment's full size."""
    return upsampled_labels(predict_logits(network, frame), form)


@torch.inference_mode()
def predict_logits(network: Network, frame: Image) -> Tensor:
    """(1, classes, h, w) at the network's own stride."""
    return network(torch.from_numpy(frame).to(network.device)[None].permute(0, 3, 1, 2))


def upsampled_labels(logits: Tensor, form: SegmentFormat) -> LabelMap:
    """(height, width) of one frame."""
    labels: LabelMap = label_maps(logits, (form.height, form.width))[0].cpu().numpy()
    return labels
