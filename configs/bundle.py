"""Bundles: one versioned directory with everything that belongs together.

`bundle.json` names the variants and their weights, the ladder, the classes, the codec flags and the cost
of every configuration; `id` is derived from the content, so two bundles with one id are the same bundle.
Every file is checked against its SHA-256 before anything is loaded from it.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from configs.ladder import Configuration, Ladder

MANIFEST = "bundle.json"
FORMAT = 1
BUNDLES_DIRECTORY = Path(__file__).with_name("bundles")
DEFAULT_BUNDLE = BUNDLES_DIRECTORY / "lite"


class BundleError(ValueError):
    """A bundle is missing, damaged or of another format; the message says which file and what to do."""


class Variant(BaseModel):
    """One segmentation model of the family and what it costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sparsity: float
    weights: str = Field(description="file inside the bundle")
    channels: dict[str, int] = Field(description="channels of every group after physical removal")
    parameters: int
    flops: tuple[int, ...] = Field(description="FLOPs of one frame at each scale of the ladder")


class Manifest(BaseModel):
    """The content of `bundle.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    id: str
    name: str
    frame: tuple[int, int] = Field(
        description="(width, height) at scale 1.0 for which the FLOPs were counted"
    )
    ladder: Ladder
    classes: tuple[str, ...]
    codec: dict[str, Any] = Field(description="flags of clients.codec.CodecFlags")
    architecture: dict[str, Any] = Field(description="fields of serving.vss.pspnet.Architecture")
    variants: tuple[Variant, ...]
    encoder: str | None = Field(
        None, description="weights of the trained performance encoder, if there is one"
    )
    figures: dict[str, Any] = Field(
        default_factory=dict, description="what was measured, as in the model card"
    )
    checksums: dict[str, str] = Field(description="SHA-256 of every other file in the bundle")


class Bundle:
    """A verified bundle on disk."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory, self.manifest = directory, manifest

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def ladder(self) -> Ladder:
        return self.manifest.ladder

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Cost of every configuration in ladder order, normalised by the most expensive one."""
        dense = self.manifest.variants[0].flops[0]
        return tuple(self.flops(configuration) / dense for configuration in self.ladder.rungs())

    def flops(self, configuration: Configuration) -> int:
        """FLOPs (2 per multiply-add, torch's counter) of one frame at a configuration."""
        scale = self.ladder.scales.index(configuration.scale)
        return self.manifest.variants[configuration.variant].flops[scale]

    def path(self, file: str) -> Path:
        return self.directory / file

    @classmethod
    def load(cls, directory: Path = DEFAULT_BUNDLE) -> Bundle:
        """Reads and verifies a bundle. Raises `BundleError`."""
        path = directory / MANIFEST
        if not path.is_file():
            raise BundleError(f"{directory} holds no {MANIFEST}: give the folder of a bundle")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise BundleError(
                f"{path} has format {content.get('format')!r}, expected {FORMAT}: make the bundle anew"
            )
        manifest = Manifest.model_validate(content)
        for file, expected in manifest.checksums.items():
            if not (directory / file).is_file():
                raise BundleError(f"{directory} lacks {file}: fetch the whole bundle again")
            if sha256(directory / file) != expected:
                raise BundleError(f"{directory / file} does not match its checksum: fetch the bundle again")
        if content_id(manifest.name, content) != manifest.id:
            raise BundleError(f"{path} was changed after it was made: its id no longer matches its content")
        return cls(directory, manifest)


def write_manifest(directory: Path, fields: dict[str, Any]) -> Manifest:
    """Seals a directory: adds checksums of all its files and the id, writes `bundle.json`."""
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name != MANIFEST)
    draft = Manifest.model_validate(
        {**fields, "format": FORMAT, "id": "", "checksums": {file.name: sha256(file) for file in files}}
    )
    content = draft.model_dump(mode="json")
    content["id"] = content_id(draft.name, content)
    (directory / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return Manifest.model_validate(content)


def content_id(name: str, content: dict[str, Any]) -> str:
    """The bundle's name and 12 hex digits over everything in its manifest but the id itself."""
    canonical = json.dumps({k: v for k, v in content.items() if k != "id"}, sort_keys=True)
    return f"{name}-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
