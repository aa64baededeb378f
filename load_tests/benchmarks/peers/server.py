"""Starts and stops a peer, in an environment of its own that sees the project's packages behind its own."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from load_tests.application import REPOSITORY, ApplicationError, free_port
from load_tests.background import last_lines, started, tree
from load_tests.benchmarks.peers.bare import BareRun
from load_tests.benchmarks.peers.model import TASK, PeerTask

ROOM = Path(__file__).parent
ENVIRONMENT = REPOSITORY / ".venv-peers"
START_TIMEOUT_S = 120.0

Command = Callable[[Path, int, int], Sequence[str]]
"""Of the environment's programs, a port and a number of worker processes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """How a peer is started."""

    name: str
    command: Command


PEERS = (
    Peer(
        "FastAPI",
        lambda programs, port, workers: [
            *(str(programs / "uvicorn"), "load_tests.benchmarks.peers.fastapi_peer:app"),
            *("--port", str(port), "--workers", str(workers), "--log-level", "warning"),
        ],
    ),
    Peer(
        "LitServe",
        lambda programs, port, workers: [
            *(str(programs / "python"), "-m", "load_tests.benchmarks.peers.litserve_peer"),
            *(str(port), str(workers)),
        ],
    ),
    Peer(
        "BentoML",
        lambda programs, port, workers: [
            *(str(programs / "bentoml"), "serve", "load_tests.benchmarks.peers.bentoml_peer:Variant"),
            *("--port", str(port), "--api-workers", str(workers)),
        ],
    ),
)


def make_environment() -> Path:
    """The folder of the peers' programs; their packages are installed once."""
    wanted = (ROOM / "requirements.txt").read_text(encoding="utf-8")
    done = ENVIRONMENT / "installed.txt"
    programs = ENVIRONMENT / "bin"
    if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [str(programs / "python"), "-m", "pip", "install", "--requirement"]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        installing = subprocess.run(
            [*install, str(ROOM / "requirements.txt")], env=clean, capture_output=True, text=True
        )
        if installing.returncode:
            raise ApplicationError(f"the peers could not be installed:\n{installing.stderr[-2000:]}")
        (folder,) = ENVIRONMENT.glob("lib/python*/site-packages")
        (folder / "project.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
        done.write_text(wanted, encoding="utf-8")
    return programs


class RunningPeer:
    """A context manager; `url` takes POST /segment inside it."""

    def __init__(self, peer: Peer, task: PeerTask, workers: int, log: Path) -> None:
        self._peer, self._task, self._workers, self._log = peer, task, workers, log
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> RunningPeer:
        self._process = started(
            self._peer.command(make_environment(), self._port, self._workers),
            peer_environment(self._task),
            REPOSITORY,
            self._log,
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_it_answers(self) -> None:
        """Anything but a refusal to connect: each peer opens its port when its model is loaded."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/docs", timeout=5).status_code < 500:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise ApplicationError(f"{self._peer.name} did not start:\n{last_lines(self._log, 30)}")

    def stop(self) -> None:
        """Ends the peer and all its processes."""
        if self._process is None:
            return
        processes = tree(self._process.pid)
        self._process.terminate()
        _, left = psutil.wait_procs(processes, timeout=10)
        for process in left:
            process.kill()
        self._process.wait()
        self._process = None


def peer_environment(task: PeerTask) -> dict[str, str]:
    """What a peer needs to know, and ours; threads that wait do not spin, as in the platform's replicas."""
    return {
        **os.environ,
        TASK: task.model_dump_json(),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(REPOSITORY),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def run_bare(task: PeerTask, folder: Path, seconds: float, ahead: bool) -> BareRun:
    """What the bare loop did with the segments in a folder."""
    command = (sys.executable, "-m", "load_tests.benchmarks.peers.bare", str(folder), str(seconds))
    done = subprocess.run(
        [*command, "ahead" if ahead else "sequential"],
        env=peer_environment(task),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return BareRun.model_validate_json(done.stdout.splitlines()[-1])
