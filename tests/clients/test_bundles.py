"""The server's bundle on a camera: fetched once, checked, kept, and written nowhere else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clients.bundles import KEPT, SignedManifest, fetch_bundle
from configs.bundle import DEFAULT_BUNDLE, MANIFEST, Bundle, BundleError, sha256, write_manifest
from serving.bundles.signing import SigningKey

POLICY = {
    "timing": {"seconds": 1, "fps": 15},
    "model": "policy.onnx",
    "embedding": 0,
    "margin": 0,
    "recipe": "r",
}


class FolderServer:
    """Hands out a folder, and counts what was asked for."""

    def __init__(self, directory: Path, key: SigningKey | None = None) -> None:
        self.directory, self.key = directory, key
        self.asked: list[str] = []

    def bundle_manifest(self, bundle: str) -> SignedManifest:
        self.asked.append(MANIFEST)
        content = (self.directory / MANIFEST).read_bytes()
        return SignedManifest(content, self.key.sign(content) if self.key else None)

    def bundle_file(self, bundle: str, name: str, held: str | None = None) -> bytes | None:
        self.asked.append(name)
        return None if held == sha256(self.directory / name) else (self.directory / name).read_bytes()


@pytest.fixture
def served(tmp_path: Path) -> Bundle:
    return bundle_with(tmp_path / "served", b"a model")


def bundle_with(directory: Path, model: bytes) -> Bundle:
    """The bundle that ships, with a policy that is only bytes."""
    shutil.copytree(DEFAULT_BUNDLE, directory)
    (directory / MANIFEST).unlink()
    (directory / "policy.onnx").write_bytes(model)
    fields = Bundle.load().manifest.model_dump(exclude={"id", "checksums", "format"})
    write_manifest(directory, fields | {"policy": POLICY})
    return Bundle.load(directory)


def test_only_what_a_camera_needs_is_fetched_and_only_once(served: Bundle, tmp_path: Path) -> None:
    server = FolderServer(served.directory)
    fetched = fetch_bundle(server, served.id, tmp_path / "cache")
    assert server.asked == [MANIFEST, *served.manifest.camera_files]
    assert (fetched.id, fetched.path("policy.onnx").read_bytes()) == (served.id, b"a model")
    assert not fetched.path(served.manifest.variants[0].weights).exists()
    assert fetch_bundle(server, served.id, tmp_path / "cache").id == served.id
    assert server.asked.count(MANIFEST) == 1


def test_what_was_damaged_on_disk_is_fetched_anew(served: Bundle, tmp_path: Path) -> None:
    server = FolderServer(served.directory)
    fetch_bundle(server, served.id, tmp_path).path("policy.onnx").write_bytes(b"rot")
    assert fetch_bundle(server, served.id, tmp_path).path("policy.onnx").read_bytes() == b"a model"


def test_what_was_damaged_on_the_way_is_refused_and_not_kept(served: Bundle, tmp_path: Path) -> None:
    (served.directory / "policy.onnx").write_bytes(b"rot")
    with pytest.raises(BundleError, match="does not match its checksum"):
        fetch_bundle(FolderServer(served.directory), served.id, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_another_bundle_than_the_one_registered_with_is_not_taken(served: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="changed its bundle"):
        fetch_bundle(FolderServer(served.directory), "lite-0123456789ab", tmp_path / "cache")


@pytest.mark.parametrize("name", ["../policy.onnx", "/etc/policy.onnx", "a/policy.onnx"])
def test_no_file_is_written_outside_the_bundles_folder(name: str, served: Bundle, tmp_path: Path) -> None:
    content = json.loads(served.path(MANIFEST).read_text(encoding="utf-8"))
    content["checksums"][name] = content["checksums"].pop("policy.onnx")
    content["policy"]["model"] = name
    served.path(MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match="outside its folder"):
        fetch_bundle(FolderServer(served.directory), served.id, tmp_path / "cache")


@pytest.mark.parametrize("bundle", ["..", "../lite", "a/b", "/tmp/b"])
def test_an_id_is_no_way_out_of_the_cache(bundle: str, served: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no id of a bundle"):
        fetch_bundle(FolderServer(served.directory), bundle, tmp_path / "cache")


def test_old_bundles_are_forgotten(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(KEPT + 2):
        made = bundle_with(tmp_path / f"served{number}", bytes([number]))
        fetch_bundle(FolderServer(made.directory), made.id, cache)
    assert len([path for path in cache.iterdir() if path.is_dir()]) == KEPT
    assert (cache / made.id).exists()


def test_what_another_bundle_in_the_cache_has_just_so_is_not_sent_again(tmp_path: Path) -> None:
    one, other = bundle_with(tmp_path / "one", b"a model"), bundle_with(tmp_path / "other", b"another")
    cache = tmp_path / "cache"
    fetch_bundle(FolderServer(one.directory), one.id, cache)
    sent: list[str] = []

    class Counting(FolderServer):
        def bundle_file(self, bundle: str, name: str, held: str | None = None) -> bytes | None:
            content = super().bundle_file(bundle, name, held)
            sent.extend([name] if content is not None else [])
            return content

    assert (
        fetch_bundle(Counting(other.directory), other.id, cache).path("policy.onnx").read_bytes()
        == b"another"
    )
    assert sent == ["policy.onnx"]


def test_with_a_pinned_key_only_its_signature_is_trusted(served: Bundle, tmp_path: Path) -> None:
    key, stranger = SigningKey.make(), SigningKey.make()
    cache = tmp_path / "cache"
    with pytest.raises(BundleError, match="has no signature"):
        fetch_bundle(FolderServer(served.directory), served.id, cache, key.public)
    with pytest.raises(BundleError, match="not that of the key that is trusted"):
        fetch_bundle(FolderServer(served.directory, stranger), served.id, cache, key.public)
    assert fetch_bundle(FolderServer(served.directory, key), served.id, cache, key.public).id == served.id


def test_what_was_cached_without_a_signature_is_fetched_anew_once_a_key_is_pinned(
    served: Bundle, tmp_path: Path
) -> None:
    key = SigningKey.make()
    fetch_bundle(FolderServer(served.directory), served.id, tmp_path)
    server = FolderServer(served.directory, key)
    fetch_bundle(server, served.id, tmp_path, key.public)
    assert MANIFEST in server.asked
