"""A real embedded database for each module that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.state.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def server(short_directory: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(short_directory / request.module.__name__.rpartition(".")[2])
    server.ensure_running()
    yield server
    server.stop()
    assert server.pid() is None
