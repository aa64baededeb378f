"""The embedded database's keeper starts it again at once, and says so where it cannot."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.deployments.database import DatabaseReplica
from serving.state.embedded import EmbeddedServer, SilentServerError


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pn-") as path:
        yield Path(path)


@pytest.fixture
def keeper(directory: Path) -> Iterator[DatabaseReplica]:
    made = DatabaseReplica(directory)
    yield made
    made.__del__()  # as Serve does
    assert EmbeddedServer(directory).pid() is None


def until(held: Callable[[], bool], patience_s: float = 20) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    while not held():
        assert time.monotonic() - started < patience_s
        time.sleep(0.02)
    return time.monotonic() - started


async def test_a_database_that_was_killed_is_back_at_once(keeper: DatabaseReplica, directory: Path) -> None:
    server = EmbeddedServer(directory)
    first = server.pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    took = until(lambda: server.pid() not in (None, first))
    assert took < 5  # on a machine that does other things
    await keeper.check_health()


@pytest.mark.slow  # a start that fails is waited for
async def test_one_that_cannot_be_started_makes_its_keeper_unhealthy_until_it_can(
    keeper: DatabaseReplica, directory: Path
) -> None:
    server = EmbeddedServer(directory)
    append_only = next((directory / "redis").rglob("*.manifest"))
    good = append_only.read_bytes()
    append_only.write_bytes(b"no manifest\n")
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: keeper._failure is not None, 60)
    with pytest.raises(Exception, match=r"."):
        await keeper.check_health()
    append_only.write_bytes(good)
    until(lambda: keeper._failure is None and server.pid() is not None, 60)
    await keeper.check_health()


async def test_one_that_is_silent_for_a_while_is_left_as_it_is(
    keeper: DatabaseReplica, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = EmbeddedServer(directory)
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "does not answer" in caplog.text)
        await keeper.check_health()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert server.pid() == pid


def test_a_server_that_is_silent_is_not_joined_by_a_second_one(directory: Path) -> None:
    """Two of them on one append-only file would lose what either accepts."""
    server, other = EmbeddedServer(directory), EmbeddedServer(directory)
    server.ensure_running()
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SilentServerError, match="does not answer"):
            other.ensure_running()
    finally:
        os.kill(pid, signal.SIGCONT)
    try:
        assert other.pid() == pid
        other.ensure_running()
    finally:
        server.stop()
