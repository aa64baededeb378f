"""Resident memory of everything that belongs to an application."""

from __future__ import annotations

import contextlib

import psutil

from load_tests.application import RunningApplication
from serving.state.embedded import EmbeddedServer


def resident_bytes(application: RunningApplication) -> int:
    """Of the whole process tree and of the embedded database, which may outlive it. Pages that processes
    share count once: each process bears its part of them (PSS)."""
    root = psutil.Process(application.pid)
    processes = {process.pid: process for process in [root, *root.children(recursive=True)]}
    database = EmbeddedServer(application.state_directory).pid()
    if database is not None and database not in processes:
        processes[database] = psutil.Process(database)
    total = 0
    for process in processes.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += int(process.memory_full_info().pss)
    return total
