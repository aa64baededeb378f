"""Bundles as they travel: a plain tar of the folder's files, bounded, looked through before it is written.

There is no compression, so an archive cannot swell, and no folder, link or device, so nothing is written
elsewhere.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from configs.bundle import MANIFEST, Bundle, BundleError, replaced_directory

MOST_FILES = 256


def pack(directory: Path) -> bytes:
    """The bundle in a folder as an archive, the same bytes each time. Raises `BundleError`."""
    bundle = Bundle.load(directory)
    _check_names(sorted(bundle.manifest.checksums))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in (MANIFEST, *sorted(bundle.manifest.checksums)):
            path = directory / name
            member = tarfile.TarInfo(name)
            member.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(member, file)
    return archive.getvalue()


def unpack(archive: bytes, directory: Path) -> Bundle:
    """Writes an archive's bundle to a folder, which it replaces once every checksum is right.

    Raises `BundleError` for what is no archive of exactly one bundle's files.
    """
    with replaced_directory(directory) as partial:
        names = _written(archive, partial)
        bundle = Bundle.load(partial)
        surplus = sorted(names - {MANIFEST, *bundle.manifest.checksums})
        if surplus:
            raise BundleError(
                f"the archive holds files without a checksum: {', '.join(surplus)}. Pack the bundle's files "
                "alone"
            )
    return Bundle(directory, bundle.manifest)


def _written(archive: bytes, directory: Path) -> set[str]:
    """Names of the files that were written."""
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                _check_member(member, names)
                content = tar.extractfile(member)
                assert content is not None
                data = content.read()
                if len(data) != member.size:
                    raise BundleError(f"the archive ends within {member.name}: push it again")
                (directory / member.name).write_bytes(data)
                names.add(member.name)
    except (tarfile.TarError, EOFError) as error:
        raise BundleError(f"the archive is no plain tar file ({error}): push it again") from error
    return names


def _check_member(member: tarfile.TarInfo, names: set[str]) -> None:
    _check_names([member.name])
    if not member.isreg() or member.issparse():
        raise BundleError(f"the archive's {member.name!r} is no regular file: pack files alone")
    if member.name in names:
        raise BundleError(f"the archive holds {member.name!r} twice: pack each file once")
    if len(names) >= MOST_FILES:
        raise BundleError(f"the archive holds more than {MOST_FILES} files: a bundle has fewer")


def _check_names(names: list[str]) -> None:
    for name in names:
        if not name.isprintable() or Path(name).name != name or name in ("", ".", "..") or "\\" in name:
            raise BundleError(
                f"the bundle names a file outside its folder, {name[:100]!r}: files lie flat in it"
            )
