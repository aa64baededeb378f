"""Inference of one variant: frames in, class shares, label maps and the last frame's logits out.

The numeric type is what the machine is fast in: float16 on GPUs, bfloat16 where the CPU multiplies it in
hardware (AMX or AVX512-BF16; elsewhere it is emulated and many times slower), float32 otherwise. Batch
norms are folded into convolutions, activations are channels-last.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from clients.protocol import MaskMode
from serving.vss.pspnet import ConvNorm, PSPNet

SHARE_STRIDE = 4
"""Class shares are counted on label maps of a quarter of the frame's sides: a sixteenth of the work of
full-size maps, and within a thousandth of their shares. Full-size maps are made when asked for."""


SMALL_MAP = 400 * 640
"""Pixels up to which a label map is made from all classes at once."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where networks run here, in which type, and why."""

    device: str
    dtype: torch.dtype
    reason: str


def choose_hardware(cpu_flags: frozenset[str] | None = None) -> Hardware:
    """Decides by what the machine has; `cpu_flags` as in /proc/cpuinfo."""
    if torch.cuda.is_available():
        return Hardware("cuda", torch.float16, f"GPU {torch.cuda.get_device_name()}: float16")
    flags = read_cpu_flags() if cpu_flags is None else cpu_flags
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in flags:
            return Hardware("cpu", torch.bfloat16, f"CPU with {flag}: bfloat16 in hardware")
    widest = next((flag for flag in ("avx512f", "avx2", "asimd", "sse2") if flag in flags), "no known SIMD")
    return Hardware("cpu", torch.float32, f"CPU with {widest}, no bfloat16 in hardware: float32")


def read_cpu_flags() -> frozenset[str]:
    """The CPU's feature flags; empty where the system does not list them."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line.startswith(("flags", "Features")):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one segment came to."""

    class_pixels: NDArray[np.int64]  # (classes,) pixels on the maps that were counted
    logits: NDArray[np.float16]  # (classes, rows, columns) of the last frame, at the network's stride
    label_maps: NDArray[np.uint8] | None  # (frames, height, width)
    network_ms: float
    labels_ms: float


class SegmentationEngine:
    """One variant, ready to run. Not thread-safe: a replica calls it from one thread."""

    def __init__(self, network: PSPNet, hardware: Hardware, batch_frames: int = 1) -> None:
        self.hardware, self.batch_frames = hardware, batch_frames
        self.classes = network.architecture.classes
        folded = fold_batch_norms(network).to(hardware.device, hardware.dtype)
        self._network = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def run(self, frames: NDArray[np.uint8], masks: MaskMode = "none") -> Prediction:
        """Segments frames (N, height, width, 3) RGB."""
        size = frames.shape[1:3]
        quarter = (-(-size[0] // SHARE_STRIDE), -(-size[1] // SHARE_STRIDE))
        pixels = torch.zeros(self.classes, dtype=torch.int64)
        maps: list[Tensor] = []
        network_s = labels_s = 0.0
        logits = torch.empty(0)
        for start in range(0, len(frames), self.batch_frames):
            batch = torch.from_numpy(frames[start : start + self.batch_frames]).to(self.hardware.device)
            begun = time.perf_counter()
            images = batch.permute(0, 3, 1, 2).to(self.hardware.dtype).div_(255)
            logits = self._network(images)
            if logits.is_cuda:
                torch.cuda.synchronize()
            inferred = time.perf_counter()
            labels = label_maps(logits, size if masks == "all" else quarter)
            pixels += torch.bincount(labels.flatten(), minlength=self.classes).cpu()
            if masks == "all":
                maps.append(labels.cpu())
            network_s += inferred - begun
            labels_s += time.perf_counter() - inferred
        begun = time.perf_counter()
        if masks == "last":
            maps.append(label_maps(logits[-1:], size).cpu())
        all_maps = torch.cat(maps).numpy() if maps else None
        last = logits[-1].to(torch.float16).cpu().contiguous().numpy()
        labels_s += time.perf_counter() - begun
        return Prediction(pixels.numpy(), last, all_maps, network_s * 1e3, labels_s * 1e3)


def label_maps(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class ids (N, *size) uint8: arg max of the logits (N, classes, h, w) after bilinear upsampling.

    Large maps are made class by class with a running maximum, so that no upsampled tensor of all classes is
    ever written: on a CPU that takes two thirds of the time at 1280x720, but half as much again at 320x180.
    """
    if logits.dtype == torch.bfloat16:
        logits = logits.float()  # CPUs interpolate bfloat16 slowly
    if size[0] * size[1] <= SMALL_MAP:
        return _upsampled(logits, size).argmax(1).to(torch.uint8)
    best = _upsampled(logits[:, :1].contiguous(), size)[:, 0]
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=logits.device)
    for index in range(1, logits.shape[1]):
        other = _upsampled(logits[:, index : index + 1].contiguous(), size)[:, 0]
        labels.masked_fill_(other > best, index)
        torch.maximum(best, other, out=best)
    return labels


def _upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def fold_batch_norms(network: PSPNet) -> PSPNet:
    """Folds every batch norm into its convolution; outputs stay equal to float tolerance."""
    for module in network.eval().modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network
