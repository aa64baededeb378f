"""Memory and processor time of everything that belongs to an application."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

from load_tests.application import RunningApplication
from serving.state.embedded import EmbeddedServer


def tree(pid: int) -> list[psutil.Process]:
    """A process and all that came of it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def processes(application: RunningApplication) -> list[psutil.Process]:
    """The whole process tree, and the embedded database, which may outlive it."""
    found = tree(application.pid)
    database = EmbeddedServer(application.state_directory).pid()
    if database is not None and database not in {process.pid for process in found}:
        found.append(psutil.Process(database))
    return found


def resident_bytes(application: RunningApplication) -> int:
    """Pages that processes share count once: each process bears its part of them (PSS)."""
    total = 0
    for process in processes(application):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += int(process.memory_full_info().pss)
    return total


def cpu_seconds(of: Iterable[psutil.Process]) -> dict[int, float]:
    """Processor time, user's and system's, that each living process has taken so far, by process id."""
    taken = {}
    for process in of:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            taken[process.pid] = times.user + times.system
    return taken
