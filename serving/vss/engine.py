"""Inference of one variant: frames in, class shares, label maps and the last frame's logits out.

The network itself is a black box (`serving.vss.network`): whatever maps images to logits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

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
    network_ms: float
    labels_ms: float


class SegmentationEngine:
    """One variant, ready to run. Not thread-safe: a replica calls it from one thread."""

    def __init__(self, network: Network, batch_frames: int = 1) -> None:
        self._network, self.batch_frames = network, batch_frames

    @torch.inference_mode()
    def run(self, frames: NDArray[np.uint8], masks: MaskMode = "none") -> Prediction:
        """Segments frames (N, height, width, 3) RGB."""
        size = frames.shape[1:3]
        quarter = (-(-size[0] // SHARE_STRIDE), -(-size[1] // SHARE_STRIDE))
        pixels = torch.zeros(self._network.classes, dtype=torch.int64)
        maps: list[Tensor] = []
        network_s = labels_s = 0.0
        logits = torch.empty(0)
        for start in range(0, len(frames), self.batch_frames):
            batch = torch.from_numpy(frames[start : start + self.batch_frames]).to(self._network.device)
            begun = time.perf_counter()
            logits = self._network(batch.permute(0, 3, 1, 2))
            if logits.is_cuda:
                torch.cuda.synchronize()
            inferred = time.perf_counter()
            labels = label_maps(logits, size if masks == "all" else quarter)
            pixels += torch.bincount(labels.flatten(), minlength=self._network.classes).cpu()
            if masks == "all":
                maps.append(labels.cpu())
            network_s += inferred - begun
            labels_s += time.perf_counter() - inferred
        begun = time.perf_counter()
        if masks == "last":
            maps.append(label_maps(logits[-1:], size).cpu())
        all_maps = torch.cat(maps).numpy() if maps else None
        last = for_encoder(logits[-1:])[0].cpu().contiguous().numpy()
        labels_s += time.perf_counter() - begun
        return Prediction(pixels.numpy(), last, all_maps, network_s * 1e3, labels_s * 1e3)


def for_encoder(logits: Tensor) -> Tensor:
    """Logits (N, classes, h, w) in float16, at their own stride or at the encoder's size, whichever is less.

    A network whose logits are as large as the frame would send its encoder tens of megabytes a segment.
    """
    if logits.shape[-2] * logits.shape[-1] > INPUT_SIZE[0] * INPUT_SIZE[1]:
        logits = F.interpolate(logits.float(), size=INPUT_SIZE, mode="bilinear", align_corners=False)
    return logits.to(torch.float16)
