"""Starts and stops a real application in a subprocess: what the demo, the tests and the benchmarks use.

It runs `serve run` on a configuration that only adds a free port to `serving.app`, in a Ray instance of
its own, and stops everything it started, also when starting fails.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType

import httpx
import psutil
import yaml

from configs.bundle import DEFAULT_BUNDLE
from load_tests.background import last_lines, started, tree
from serving.launch import FLAGS, HAPROXY
from serving.state.embedded import EmbeddedServer

REPOSITORY = Path(__file__).parents[1]
START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 45.0


class ApplicationError(RuntimeError):
    """The application did not start; the message ends with its last lines."""


class RunningApplication:
    """A context manager; `url` and `key` are valid inside it."""

    def __init__(
        self,
        state_directory: Path,
        bundle: Path = DEFAULT_BUNDLE,
        command: Sequence[str] | None = None,
        port: int | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`environment` holds variables for the application beside those of this process and
        `penance-server`'s."""
        self.state_directory = state_directory
        self.state_directory.mkdir(parents=True, exist_ok=True)
        self.log = state_directory / "serve.log"
        self._port = free_port() if port is None else port
        self._command = list(command) if command is not None else [str(self._configuration())]
        self._environment = {
            **FLAGS,
            **os.environ,
            "PENANCE_STATE_DIRECTORY": str(state_directory),
            "PENANCE_BUNDLE": str(bundle.resolve()),
            "RAY_ADDRESS": "local",
            "RAY_USAGE_STATS_ENABLED": "0",
            # it runs in another folder, and an installed checkout is perhaps not this one
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).strip(
                os.pathsep
            ),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def key(self) -> str:
        """The demo tenant's key."""
        return (self.state_directory / "demo.key").read_text(encoding="utf-8").strip()

    @property
    def pid(self) -> int:
        """Process id of `serve run`, the ancestor of all that belongs to the application."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """All that belongs to it just now, and the embedded database, which may outlive its starter."""
        found = tree(self.pid)
        database = EmbeddedServer(self.state_directory).pid()
        if database is not None and database not in {process.pid for process in found}:
            found += tree(database)
        return found

    @property
    def session(self) -> Path:
        """Folder of the application's Ray instance: its logs and ports."""
        ray = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray"
        return next(ray.glob(f"session_*_{self.pid}"))

    @property
    def metrics_url(self) -> str:
        """Where the metrics of all its processes are scraped."""
        port = next(self.session.glob("metrics_export_port_*")).read_text(encoding="utf-8")
        return f"http://127.0.0.1:{port}/metrics"

    def _configuration(self) -> Path:
        path = self.state_directory / "serve.yaml"
        application = {"name": "default", "import_path": "serving.app:app", "route_prefix": "/"}
        path.write_text(yaml.safe_dump({"http_options": {"port": self._port}, "applications": [application]}))
        return path

    def __enter__(self) -> RunningApplication:
        command = [str(Path(sys.executable).with_name("serve")), "run", *self._command]
        self._process = started(command, self._environment, self.state_directory, self.log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ApplicationError(f"the application ended while starting:\n{self.last_lines()}")
            try:
                # the key is written by this application; its port may have been taken by another meanwhile
                own = (self.state_directory / "demo.key").exists()
                if own and httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        raise ApplicationError(
            f"the application was not ready after {START_TIMEOUT_S:g} s:\n{self.last_lines()}"
        )

    def last_lines(self, count: int = 30) -> str:
        return last_lines(self.log, count)

    def stop(self) -> None:
        """Ends the application as Ctrl-C does; what does not end in time is killed."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        EmbeddedServer(self.state_directory).stop()
        self._process = None


def image_flags() -> dict[str, str]:
    """Ray Serve's flags as the image sets them: benchmarks and chaos measure what runs in production. Only
    HAProxy's own ports are others, so that several applications fit one machine."""
    ports = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT")
    return {**FLAGS, **HAPROXY, **{name: str(free_port()) for name in ports}}


def port_is_free(port: int) -> bool:
    """Whether nobody listens on this port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
