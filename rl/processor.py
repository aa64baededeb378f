"""Which processor a measurement was made on: speeds mean nothing without it."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")


def describe_processor() -> str:
    """For example `AMD EPYC, 2 threads, avx2`: model, torch's threads, and the flags that decide speed."""
    information = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if information.exists():
        lines = (line.partition(":") for line in information.read_text(encoding="utf-8").splitlines())
        fields = {key.strip(): value.strip() for key, _, value in lines}
    model = fields.get("model name") or platform.processor() or platform.machine()
    present = set(fields.get("flags", "").split())
    return ", ".join(
        [model, f"{torch.get_num_threads()} threads", *(flag for flag in FLAGS if flag in present)]
    )
