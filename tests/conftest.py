"""What all tests share: where development data is, and a real embedded database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Bundles that cameras fetch in tests are nobody else's."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PENANCE_CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of development data; tests that need it are skipped without it."""
    root = Path(os.environ.get("PENANCE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "clips").is_dir():
        pytest.skip(f"needs the development data, which is not at {root} (set PENANCE_DATA)")
    return root


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A temporary folder with a path short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="pn-") as directory:
        yield Path(directory)
