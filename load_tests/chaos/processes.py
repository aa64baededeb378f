"""The processes of a running application by what they are: to kill one, and to see what each kind holds."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from load_tests.application import RunningApplication

KINDS: Mapping[str, str] = {
    "ingress": r"ServeReplica:default:ingress",
    "variant": r"ServeReplica:default:variant-\d+",
    "encoder": r"ServeReplica:default:encoder",
    "decoder": r"serving\.decode\.worker",
    "database": r"valkey-server|redis-server|ServeReplica:default:.*[Dd]atabase",
    "haproxy": r"(^|/)haproxy\b",
    "proxy": r"ProxyActor|HAProxyManager",
    "controller": r"ServeController",
    "ray": r"gcs_server|raylet|ray::|dashboard|runtime_env|log_monitor|ray\.util",
}
"""Kinds with what their command lines hold; the first that fits counts, what fits none is `other`."""


def kind_of(command_line: str) -> str:
    """The kind of a process, by its command line."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, command_line)), "other")


def family(application: RunningApplication) -> dict[str, list[psutil.Process]]:
    """All processes of an application by kind."""
    found = defaultdict(list)
    for process in application.processes():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found[kind_of(" ".join(process.cmdline()))].append(process)
    return dict(found)


@dataclass(frozen=True, slots=True)
class Held:
    """What all processes of one kind hold together. Pages that processes share count once (PSS)."""

    processes: int = 0
    bytes: int = 0
    descriptors: int = 0
    threads: int = 0

    def __add__(self, other: Held) -> Held:
        return Held(
            self.processes + other.processes,
            self.bytes + other.bytes,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
        )


def held(application: RunningApplication) -> dict[str, Held]:
    """What each kind holds just now; a process that ends meanwhile is left out."""
    found: dict[str, Held] = {}
    for kind, processes in family(application).items():
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                memory = process.memory_full_info()
                mine = Held(1, int(memory.pss), process.num_fds(), process.num_threads())
                found[kind] = found.get(kind, Held()) + mine
    return found


def signal_one(application: RunningApplication, pattern: str, signal: int) -> int | None:
    """Sends a signal to one process whose command line holds `pattern`; its id, None if there is none."""
    for process in matching(application, pattern):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal)
            return int(process.pid)
    return None


def matching(application: RunningApplication, pattern: str) -> list[psutil.Process]:
    """The processes whose command lines hold `pattern`."""
    found = (process for some in family(application).values() for process in some)
    return [process for process in found if re.search(pattern, command_line(process))]


def command_line(process: psutil.Process) -> str:
    """Empty for a process that is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
