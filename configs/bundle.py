"""Bundles: one versioned directory with everything that belongs together.

`bundle.json` names the variants and their weights, the ladder, the classes, the codec flags and the cost
of every configuration; `id` is derived from the content, so two bundles with one id are the same bundle.
Every file is checked against its SHA-256 before anything is loaded from it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from configs.faults import describe_faults
from configs.ladder import Configuration, Ladder
from configs.manifest import FORMAT, Manifest, OnnxVariant, SafetensorsVariant

MANIFEST = "bundle.json"
BUNDLES_DIRECTORY = Path(__file__).with_name("bundles")
DEFAULT_BUNDLE = BUNDLES_DIRECTORY / "lite"


class BundleError(ValueError):
    """A bundle is missing, damaged, of another format, or holds a model that cannot be run; the message says
    which file and what to do."""


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
    def family(self) -> str:
        """The name and 12 hex digits over what decides about any outcome: variants, ladder,
        classes and codec. What is learnt from outcomes may join the bundle without changing it."""
        parts = {"ladder", "classes", "codec", "architecture", "variants"}
        content = self.manifest.model_dump(mode="json", include=parts)
        weights = {v.weights: self.manifest.checksums[v.weights] for v in self.manifest.variants}
        return content_id(self.manifest.name, {**content, "checksums": weights})

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Cost of every configuration in ladder order, normalised by the most expensive one."""
        dense = self.manifest.variants[0].flops[0]
        return tuple(self.flops(configuration) / dense for configuration in self.ladder.rungs())

    def flops(self, configuration: Configuration) -> int:
        """FLOPs (2 per multiply-add, torch's counter) of one frame at a configuration."""
        scale = self.ladder.scales.index(configuration.scale)
        return self.manifest.variants[configuration.variant].flops[scale]

    def segment_flops(self, configuration: Configuration, frames: int, width: int, height: int) -> int:
        """FLOPs of a whole segment of `width` x `height` frames, by its pixels: convolutions take as many
        FLOPs as they see pixels, and the manifest counts them for frames of its own size."""
        counted_width, counted_height = self.manifest.frame
        pixels, counted = frames * width * height, counted_width * counted_height
        return round(self.flops(configuration) * pixels / counted)

    def variant(self, index: int) -> SafetensorsVariant | OnnxVariant:
        """What the manifest says of a variant. Raises `BundleError` where there is no such variant."""
        variants = self.manifest.variants
        if not 0 <= index < len(variants):
            raise BundleError(f"{self.id} has variants 0 to {len(variants) - 1}, not {index}")
        return variants[index]

    def path(self, file: str) -> Path:
        return self.directory / file

    @classmethod
    def load(cls, directory: Path = DEFAULT_BUNDLE, for_camera: bool = False) -> Bundle:
        """Reads and verifies a bundle, or only what a camera needs of it. Raises `BundleError`."""
        path = directory / MANIFEST
        if not path.is_file():
            raise BundleError(f"{directory} holds no {MANIFEST}: give the folder of a bundle")
        content = _read(path)
        manifest = _validated(path, content)
        for file in manifest.camera_files if for_camera else manifest.checksums:
            if not (directory / file).is_file():
                raise BundleError(f"{directory} lacks {file}: fetch the whole bundle again")
            if sha256(directory / file) != manifest.checksums[file]:
                raise BundleError(f"{directory / file} does not match its checksum: fetch the bundle again")
        if content_id(manifest.name, content) != manifest.id:
            raise BundleError(f"{path} was changed after it was made: its id no longer matches its content")
        return cls(directory, manifest)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: fetch the bundle again ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise BundleError(f"{path} has format {found!r}, expected {FORMAT}: make the bundle anew")
    return content


def _validated(path: Path, content: dict[str, Any]) -> Manifest:
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise BundleError(f"{path} is no valid manifest: {describe_faults(error)}") from error


def locked(directory: Path) -> IO[str]:
    """Waits until no other process of this machine works on a bundle's folder, and holds it until the file
    that is given is closed."""
    lock = directory.with_name(f"{directory.name}.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


@contextmanager
def replaced_directory(directory: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `directory` once the body is through; until then, and if it
    fails, the old one stays. Raises `BundleError` where `directory` holds something that is no bundle."""
    if directory.exists() and not (directory / MANIFEST).is_file() and any(directory.iterdir()):
        raise BundleError(f"{directory} holds files but no bundle: give a new or empty folder to write to")
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(directory, ignore_errors=True)
        partial.replace(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_manifest(directory: Path, fields: dict[str, Any]) -> Manifest:
    """Seals a directory: adds checksums of all its files and the id, writes `bundle.json`.

    Raises `BundleError` where the fields make no manifest.
    """
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name != MANIFEST)
    checksums = {file.name: sha256(file) for file in files}
    draft = _validated(directory / MANIFEST, {**fields, "format": FORMAT, "id": "", "checksums": checksums})
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
