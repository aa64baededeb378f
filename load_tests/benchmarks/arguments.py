"""What benchmarks are told on the command line, and how they say it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from configs.bundle import Bundle
from configs.ladder import Configuration


def parse_rung(text: str, bundle: Bundle) -> Configuration:
    """A configuration by `SCALE/QP/VARIANT`. Raises `ValueError`."""
    parts = text.split("/")
    if len(parts) != 3:
        raise ValueError(f"{text!r} is no configuration: give SCALE/QP/VARIANT, for example 0.75/24/2")
    return bundle.ladder[bundle.ladder.index(float(parts[0]), int(parts[1]), int(parts[2]))]


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) by `WIDTHxHEIGHT`. Raises `ValueError`."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def rung(configuration: Configuration) -> str:
    return f"{configuration.scale:g}/{configuration.qp}/{configuration.variant}"


def write_figures(found: Sequence[BaseModel], path: Path | None) -> None:
    """All figures as one JSON list, where a file is wanted."""
    if path is not None:
        text = ",\n".join(one.model_dump_json(indent=1) for one in found)
        path.write_text(f"[{text}]\n", encoding="utf-8")
