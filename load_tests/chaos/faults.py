"""What is done to a running application, one fault each: a context that is left when the fault is over."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from load_tests.application import RunningApplication
from load_tests.chaos.link import Link, Quality
from load_tests.chaos.processes import command_line, family, matching, signal_one
from serving.state.embedded import EmbeddedServer

ONLY, OF_TWO = 4, 3
"""The variants that cameras of these runs ask for: one of a single replica, and one of two."""
AWAY_S = 5.0
SLOW = Quality(delay_s=0.2, bytes_per_s=20_000)
FULL_S = 8.0


def variant(index: int) -> str:
    """What the command lines of a variant's replicas hold."""
    return rf"ServeReplica:default:variant-{index}\b"


class NotHere(Exception):
    """The fault cannot be made on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What faults happen to."""

    application: RunningApplication
    link: Link

    @property
    def database_directory(self) -> Path:
        return EmbeddedServer(self.application.state_directory).directory


Fault = Callable[[Scene], AbstractContextManager[None]]


def killed(pattern: str) -> Fault:
    """`kill -9` of one process."""

    @contextmanager
    def act(scene: Scene) -> Iterator[None]:
        if signal_one(scene.application, pattern, signal.SIGKILL) is None:
            raise NotHere(f"no process here is {pattern}")
        yield

    return act


@contextmanager
def decoder_killed(scene: Scene) -> Iterator[None]:
    """A decoder of the variant that is in use."""
    (replica,) = matching(scene.application, variant(ONLY))[:1] or [None]
    decoders = (
        [] if replica is None else [p for p in replica.children() if "decode.worker" in command_line(p)]
    )
    if not decoders:
        raise NotHere("the variant has no decoder just now")
    decoders[0].kill()
    yield


@contextmanager
def database_killed(scene: Scene) -> Iterator[None]:
    """The application starts it again from its append-only file."""
    pid = EmbeddedServer(scene.application.state_directory).pid()
    if pid is None:
        raise NotHere("the embedded database is not there just now")
    os.kill(pid, signal.SIGKILL)
    yield


def stopped(pattern: str) -> Fault:
    """A process stands still for a while: its connections stay open, and nothing comes."""

    @contextmanager
    def act(scene: Scene) -> Iterator[None]:
        pid = signal_one(scene.application, pattern, signal.SIGSTOP)
        if pid is None:
            raise NotHere(f"no process here is {pattern}")
        try:
            yield
            time.sleep(AWAY_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return act


@contextmanager
def link_cut(scene: Scene) -> Iterator[None]:
    with scene.link.cut():
        yield
        time.sleep(AWAY_S)


@contextmanager
def link_silent(scene: Scene) -> Iterator[None]:
    with scene.link.as_(Quality(silent=True)):
        yield
        time.sleep(AWAY_S)


@contextmanager
def link_slow(scene: Scene) -> Iterator[None]:
    with scene.link.as_(SLOW):
        yield
        time.sleep(2 * AWAY_S)


@contextmanager
def disk_full(scene: Scene) -> Iterator[None]:
    """The file system of the append-only file has no room left, then has some again."""
    directory = scene.database_directory
    if not os.path.ismount(directory):
        raise NotHere("needs the database on a small file system of its own, which only root can mount")
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**20, 2**10, 1):  # down to the last byte
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
        time.sleep(FULL_S)
    finally:
        ballast.unlink()


@contextmanager
def small_disk(directory: Path, megabytes: int = 64) -> Iterator[bool]:
    """A small file system in memory at a folder; False where that is not allowed."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(directory)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(directory)], capture_output=True, check=False)


@contextmanager
def proxy_killed(scene: Scene) -> Iterator[None]:
    """What listens on the application's port: HAProxy, or else Serve's own proxy."""
    name = "haproxy" if "haproxy" in family(scene.application) else "proxy"
    for process in family(scene.application).get(name, []):
        process.kill()
    yield


@contextmanager
def clock_jumped(scene: Scene) -> Iterator[None]:
    raise NotHere("time namespaces leave the wall clock alone, and setting it would move every process here")
    yield


FAULTS: dict[str, Fault] = {
    "variant killed, one of two": killed(variant(OF_TWO)),
    "variant killed, the only one": killed(variant(ONLY)),
    "variant stopped, one of two": stopped(variant(OF_TWO)),
    "variant stopped, the only one": stopped(variant(ONLY)),
    "decoder killed": decoder_killed,
    "encoder killed": killed(r"ServeReplica:default:encoder"),
    "ingress killed": killed(r"ServeReplica:default:ingress"),
    "controller killed": killed(r"ServeController"),
    "database killed": database_killed,
    "disk full": disk_full,
    "link cut": link_cut,
    "link silent": link_silent,
    "link slow": link_slow,
    "clock jumped": clock_jumped,
    "proxy's keeper killed": killed(r"HAProxyManager"),
    "proxy killed": proxy_killed,
}
"""By name, in the order in which they happen: what takes longest to recover from comes last."""
THROUGH_LINK = {"link cut", "link silent", "link slow"}


def asked(case: str) -> int:
    """The variant that cameras ask for in a case."""
    return OF_TWO if case.endswith("one of two") else ONLY
