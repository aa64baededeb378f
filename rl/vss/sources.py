"""Where training data comes from, so that every model card can name all of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

import configs

SOURCES_FILE = Path(configs.__file__).with_name("recipes") / "sources.yaml"


class Source(BaseModel):
    """A GitHub repository that clips were taken from, and the licence that it states, if any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    licence: str | None = None
    clips: tuple[str, ...]


def sources_of(clips: Collection[str], path: Path = SOURCES_FILE) -> list[Source]:
    """The sources of these clips, holding only them. `ValueError` if one has no source on file."""
    known = TypeAdapter(list[Source]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    used = [
        source.model_copy(update={"clips": tuple(clip for clip in source.clips if clip in clips)})
        for source in known
    ]
    unknown = set(clips) - {clip for source in used for clip in source.clips}
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no source on file, add them to {path.name}")
    return [source for source in used if source.clips]
