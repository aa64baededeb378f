"""Our own networks ready to run, in the numeric type that the machine is fast in.

That is float16 on GPUs, bfloat16 where the CPU multiplies it in hardware (AMX or AVX512-BF16; elsewhere it
is emulated and many times slower), float32 otherwise. Batch norms are folded into convolutions, activations
are channels-last.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from serving.vss.pspnet import ConvNorm, PSPNet


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


class TorchNetwork:
    """A PSPNet as the engine runs it. Takes the network over: it is folded and converted in place."""

    def __init__(self, network: PSPNet, hardware: Hardware) -> None:
        self.classes = network.architecture.classes
        self.device, self.dtype, self.runs_on = hardware.device, hardware.dtype, hardware.reason
        folded = fold_batch_norms(network).to(hardware.device, hardware.dtype)
        self._network = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: Tensor) -> Tensor:
        logits: Tensor = self._network(images)
        return logits


def fold_batch_norms(network: PSPNet) -> PSPNet:
    """Folds every batch norm into its convolution; outputs stay equal to float tolerance."""
    for module in network.eval().modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network
