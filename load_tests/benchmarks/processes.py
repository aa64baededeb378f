"""Memory and processor time of everything that belongs to an application."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import psutil

from load_tests.application import RunningApplication


def resident_bytes(application: RunningApplication) -> int:
    """Pages that processes share count once: each process bears its part of them (PSS)."""
    total = 0
    for process in application.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += int(process.memory_full_info().pss)
    return total


Taken = dict[int, tuple[str, float]]
"""By process id: the kind of process, and its seconds of processor time, user's and system's."""


def cpu_seconds(of: Iterable[psutil.Process]) -> Taken:
    """What each living process has taken so far."""
    taken = {}
    for process in of:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            taken[process.pid] = _kind(process), times.user + times.system
    return taken


def cpu_between(before: Taken, after: Taken) -> dict[str, float]:
    """What was taken meanwhile, by kind of process, the most first."""
    kinds: defaultdict[str, float] = defaultdict(float)
    for pid, (kind, seconds) in after.items():
        kinds[kind] += seconds - (before[pid][1] if pid in before else 0.0)
    return dict(sorted(kinds.items(), key=lambda kind: -kind[1]))


def _kind(process: psutil.Process) -> str:
    """By its command line: `ray::` names and modules say more than the program."""
    line: list[str] = process.cmdline()
    if not line:
        return str(process.name())
    if line[0].startswith("ray::"):
        named = line[0].removeprefix("ray::").removeprefix("ServeReplica:default:")
        return named.partition(".")[0].strip()  # behind the dot, what it is just doing
    scripts = [part for part in line[1:] if part.endswith(".py") or part.startswith("serving.")]
    return Path(scripts[0]).name if scripts else Path(line[0]).name
