"""A real embedded database for each module that asks for one, a store on it, and a tenant of its own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore


@pytest.fixture(scope="module")
def server(short_directory: Path, request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(short_directory / request.module.__name__.rpartition(".")[2])
    server.ensure_running()
    yield server
    server.stop()
    assert server.pid() is None


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1)
    yield store
    await store.close()


@pytest.fixture
def tenant() -> str:
    return f"t{uuid.uuid4().hex}"
