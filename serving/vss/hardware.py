"""Where networks run here and in which numeric type, chosen by what the machine has.

That is float16 on GPUs, bfloat16 where the CPU multiplies it in hardware (AMX or AVX512-BF16; elsewhere it
is emulated and many times slower), float32 otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where networks run here, in which type, and why."""

    device: str
    dtype: torch.dtype
    reason: str


REFERENCE = Hardware("cpu", torch.float32, "CPU: float32, as reference predictions are everywhere")


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
