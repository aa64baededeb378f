"""Servers' bundles on a camera: the files that a camera needs, fetched once, checked, and kept."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from clients.signature import check_signature
from configs.bundle import MANIFEST, Bundle, BundleError, locked, replaced_directory, sha256
from configs.manifest import Manifest

SIGNATURE = "bundle.sig"
KEPT = 3
"""Bundles that stay on disk: the one in force, and those that a server may be set back to."""


class SignedManifest(NamedTuple):
    """`bundle.json` as it lies at the server, and its signature (`clients.signature`)."""

    content: bytes
    signature: str | None


class BundleServer(Protocol):
    """Where bundles come from (`clients.connection.PenanceServer`)."""

    def bundle_manifest(self, bundle: str) -> SignedManifest:
        """A bundle's manifest."""
        ...

    def bundle_file(self, bundle: str, name: str, held: str | None = None) -> bytes | None:
        """One of its files that cameras need; None where it is the one with the SHA-256 `held`."""
        ...


def fetch_bundle(server: BundleServer, bundle: str, cache: Path, key: str | None = None) -> Bundle:
    """The camera's part of the bundle with this id, out of the cache where it is there and whole. Files that
    another bundle in the cache has just so are not fetched again.

    key: the only one whose signature is trusted; None trusts checksums alone.

    Raises `BundleError` for what does not match its checksums or its signature, and errors of the connection.
    """
    folder = cache / bundle
    if Path(bundle).name != bundle or bundle == "..":
        raise BundleError(f"{bundle!r} is no id of a bundle")
    cache.mkdir(parents=True, exist_ok=True)
    with locked(folder):  # the cameras of a site hear of a switch together
        if (folder / MANIFEST).is_file():
            with suppress(BundleError):  # damaged on disk, or of a key that is not trusted: fetched anew
                return _cached(folder, key)
        return _fetched(server, bundle, cache, key)


def _cached(folder: Path, key: str | None) -> Bundle:
    found = Bundle.load(folder, for_camera=True)
    if key is not None:
        signature = folder / SIGNATURE
        text = signature.read_text(encoding="utf-8") if signature.is_file() else None
        check_signature(key, (folder / MANIFEST).read_bytes(), text)
    return found


def _fetched(server: BundleServer, bundle: str, cache: Path, key: str | None) -> Bundle:
    folder, manifest = cache / bundle, server.bundle_manifest(bundle)
    if key is not None:
        check_signature(key, manifest.content, manifest.signature)
    with replaced_directory(folder) as partial:
        (partial / MANIFEST).write_bytes(manifest.content)
        (partial / SIGNATURE).write_text(manifest.signature or "", encoding="utf-8")
        for name in _camera_files(manifest.content):
            _fetch_file(server, bundle, name, partial, cache)
        fetched = Bundle.load(partial, for_camera=True)
        if fetched.id != bundle:
            raise BundleError(f"the server changed its bundle while {bundle} was fetched: register again")
    _forget_oldest(cache)
    return Bundle(folder, fetched.manifest)


def _fetch_file(server: BundleServer, bundle: str, name: str, directory: Path, cache: Path) -> None:
    """Writes one file, of which the newest copy of any other bundle may do."""
    copies = [
        folder / name for folder in cache.iterdir() if folder != directory and (folder / name).is_file()
    ]
    held = max(copies, key=lambda path: path.stat().st_mtime, default=None)
    content = server.bundle_file(bundle, name, None if held is None else sha256(held))
    if content is not None:
        (directory / name).write_bytes(content)
    elif held is not None:
        shutil.copyfile(held, directory / name)


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
        path.parent.with_name(f"{path.parent.name}.lock").unlink(missing_ok=True)
