"""What all tests share: where development data is, and a real embedded database."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process has a core, not all of them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those of one file share one, with their fixtures. Whole
    applications fill the machine, so all of them share one, too: one after another."""
    for item in items:
        file = item.path.relative_to(REPOSITORY / "tests")
        group = "application" if file.parts[0] == "application" else str(file)
        item.add_marker(pytest.mark.xdist_group(group))


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
