"""Programs in the background: started in a session of their own, with what they say in a file, and all that
came of one."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


def started(
    command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
) -> subprocess.Popen[bytes]:
    """`environment` is all that the program gets. Ctrl-C at the terminal does not reach it."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A parent that ignores SIGINT (a shell's background job) would hand that down.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def last_lines(log: Path, count: int) -> str:
    """The end of what a program said."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def tree(pid: int) -> list[psutil.Process]:
    """A process, itself first, and all that came of it; nothing if it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
