"""Inference of one variant: frames in, class shares, label maps and the last frame's logits out.

The network itself is a black box (`serving.vss.network`): whatever maps images to logits.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clients.protocol import MaskMode
from serving.performance.network import INPUT_SIZE
from serving.vss.labels import label_maps
from serving.vss.network import Network

SHARE_STRIDE = 4
"""Class shares are counted on label maps of a quarter of the frame's sides: a sixteenth of the work of
full-size maps, and within a thousandth of their shares. Full-size maps are made when asked for."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one segment came to."""

    class_pixels: NDArray[np.int64]  # (classes,) pixels on the maps that were counted
    logits: NDArray[np.float16]  # (classes, rows, columns) of the last frame, as `for_encoder` gives them
    label_maps: NDArray[np.uint8] | None  # (frames, height, width)
    infer_ms: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """What some frames of a segment came to; logits of the last ones alone are kept."""

    pixels: Tensor
    labels: Tensor | None
    logits: Tensor | None


class SegmentationEngine:
    """One variant, ready to run. A replica calls it from one thread; the frames of a segment go through the
    network's streams side by side, each to its label map in one thread."""

    def __init__(self, network: Network, batch_frames: int = 1) -> None:
        self._network, self.batch_frames = network, batch_frames
        self._streams: ThreadPoolExecutor | None = None
        if network.streams > 1:  # OpenMP's thread count belongs to the thread that sets it
            self._streams = ThreadPoolExecutor(
                network.streams,
                thread_name_prefix="stream",
                initializer=torch.set_num_threads,
                initargs=(1,),
            )

    @torch.inference_mode()
    def run(self, frames: NDArray[np.uint8], masks: MaskMode = "none") -> Prediction:
        """Segments frames (N, height, width, 3) RGB."""
        begun, size = time.perf_counter(), frames.shape[1:3]
        last = (len(frames) - 1) // self.batch_frames
        work = partial(self._batch, frames, masks == "all", last)
        batches = list((self._streams.map if self._streams else map)(work, range(last + 1)))
        logits = batches[-1].logits
        assert logits is not None
        maps = [batch.labels for batch in batches if batch.labels is not None]
        if masks == "last":
            maps = [label_maps(logits[-1:], size).cpu()]
        return Prediction(
            class_pixels=torch.stack([batch.pixels for batch in batches]).sum(0).numpy(),
            logits=for_encoder(logits[-1:])[0].cpu().contiguous().numpy(),
            label_maps=torch.cat(maps).numpy() if maps else None,
            infer_ms=(time.perf_counter() - begun) * 1e3,
        )

    @torch.inference_mode()
    def _batch(self, frames: NDArray[np.uint8], whole: bool, last: int, number: int) -> _Batch:
        """The batch of this number: counted on full-size maps, which are kept, or on small ones."""
        start, size = number * self.batch_frames, frames.shape[1:3]
        quarter = (-(-size[0] // SHARE_STRIDE), -(-size[1] // SHARE_STRIDE))
        batch = torch.from_numpy(frames[start : start + self.batch_frames]).to(self._network.device)
        logits = self._network(batch.permute(0, 3, 1, 2))
        labels = label_maps(logits, size if whole else quarter)
        pixels = torch.bincount(labels.flatten(), minlength=self._network.classes).cpu()
        return _Batch(pixels, labels.cpu() if whole else None, logits if number == last else None)


def for_encoder(logits: Tensor) -> Tensor:
    """Logits (N, classes, h, w) in float16, at their own stride or at the encoder's size, whichever is less.

    A network whose logits are as large as the frame would send its encoder tens of megabytes a segment.
    """
    if logits.shape[-2] * logits.shape[-1] > INPUT_SIZE[0] * INPUT_SIZE[1]:
        logits = F.interpolate(logits.float(), size=INPUT_SIZE, mode="bilinear", align_corners=False)
    return logits.to(torch.float16)
