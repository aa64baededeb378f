"""Archives of bundles: whatever is no bundle's files, whole and flat, is refused with a sentence."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.signature import check_signature
from configs.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle, BundleError
from serving.bundles.archive import MOST_FILES, pack, unpack
from serving.bundles.signing import SigningKey

ARCHIVE = pack(DEFAULT_BUNDLE)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def shipped_members() -> list[tuple[tarfile.TarInfo, bytes]]:
    names = [MANIFEST, *Bundle.load().manifest.checksums]
    return [(tarfile.TarInfo(name), (DEFAULT_BUNDLE / name).read_bytes()) for name in names]


def test_what_was_packed_is_unpacked_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    bundle = unpack(ARCHIVE, tmp_path / "bundle")
    assert bundle.id == Bundle.load().id
    assert pack(tmp_path / "bundle") == ARCHIVE


@given(place=st.integers(0, len(ARCHIVE) - 1), bit=st.integers(0, 7))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, place: int, bit: int) -> None:
    """Padding and times in headers are no content; all else is."""
    damaged = bytearray(ARCHIVE)
    damaged[place] ^= 1 << bit
    try:
        bundle = unpack(bytes(damaged), tmp_path / "bundle")
    except BundleError:
        assert not (tmp_path / "bundle.partial").exists()
    else:
        assert pack(bundle.directory) == ARCHIVE


@given(end=st.integers(0, len(ARCHIVE) - 20_000))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, end: int) -> None:
    with pytest.raises(BundleError):
        unpack(ARCHIVE[:end], tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", "a\\b", "new\nline", ""])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    archive = tar_of(*shipped_members(), (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(BundleError, match="outside its folder"):
        unpack(archive, tmp_path / "inner" / "bundle")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_regular_files_are_taken(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(BundleError, match="is no regular file"):
        unpack(tar_of((member, b"")), tmp_path / "bundle")


def test_a_file_without_a_checksum_a_file_twice_and_too_many_are_refused(tmp_path: Path) -> None:
    members = shipped_members()
    with pytest.raises(BundleError, match=r"files without a checksum: surplus\.bin"):
        unpack(tar_of(*members, (tarfile.TarInfo("surplus.bin"), b"x")), tmp_path / "bundle")
    with pytest.raises(BundleError, match="twice"):
        unpack(tar_of(*members, members[1]), tmp_path / "bundle")
    many = [(tarfile.TarInfo(f"file{number}"), b"") for number in range(MOST_FILES + 1)]
    with pytest.raises(BundleError, match=f"more than {MOST_FILES} files"):
        unpack(tar_of(*many), tmp_path / "bundle")


def test_only_the_holder_of_the_key_signs_and_only_what_was_signed_is_trusted() -> None:
    key, manifest = SigningKey.make(), (DEFAULT_BUNDLE / MANIFEST).read_bytes()
    signature = key.sign(manifest)
    check_signature(key.public, manifest, signature)
    wrong = [
        (SigningKey.make().public, manifest, signature),
        (key.public, manifest + b" ", signature),
        (key.public, manifest, SigningKey.make().sign(manifest)),
        (key.public, manifest, "no base64"),
        ("no key", manifest, signature),
        (key.public, manifest, None),
    ]
    for public, content, given_signature in wrong:
        with pytest.raises(BundleError, match="signature"):
            check_signature(public, content, given_signature)
    assert key.secret not in repr(key)
