"""The server's bundle on a camera: the files that a camera needs, fetched once, checked, and kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from configs.bundle import MANIFEST, Bundle, BundleError, replaced_directory
from configs.manifest import Manifest

KEPT = 3
"""Bundles that stay on disk: the one in force, and those that a server may be set back to."""


class BundleServer(Protocol):
    """Where bundles come from (`clients.connection.PenanceServer`)."""

    def bundle_manifest(self) -> bytes:
        """`bundle.json` of the bundle in force."""
        ...

    def bundle_file(self, name: str) -> bytes:
        """One of its files that cameras need."""
        ...


def fetch_bundle(server: BundleServer, bundle: str, cache: Path) -> Bundle:
    """The camera's part of the bundle with this id, out of the cache where it is there and whole.

    Raises `BundleError` for what does not match its checksums, and errors of the connection.
    """
    folder = cache / bundle
    if Path(bundle).name != bundle or bundle == "..":
        raise BundleError(f"{bundle!r} is no id of a bundle")
    if (folder / MANIFEST).is_file():
        try:
            return Bundle.load(folder, for_camera=True)
        except BundleError:
            pass  # damaged on disk: fetched anew
    manifest = server.bundle_manifest()
    with replaced_directory(folder) as partial:
        (partial / MANIFEST).write_bytes(manifest)
        for name in _camera_files(manifest):
            (partial / name).write_bytes(server.bundle_file(name))
        fetched = Bundle.load(partial, for_camera=True)
        if fetched.id != bundle:
            raise BundleError(f"the server changed its bundle while {bundle} was fetched: register again")
    _forget_oldest(cache)
    return Bundle(folder, fetched.manifest)


def _camera_files(manifest: bytes) -> tuple[str, ...]:
    """Names of files to fetch. Raises `BundleError` for what would lie outside the bundle's folder."""
    try:
        names = Manifest.model_validate_json(manifest).camera_files
    except ValueError as error:
        raise BundleError(f"the server's bundle has no manifest that can be read: {error}") from error
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise BundleError(f"the bundle names files outside its folder: {', '.join(outside)}")
    return names


def _forget_oldest(cache: Path) -> None:
    found = sorted(cache.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT:]:
        shutil.rmtree(path.parent)
