"""A Ray cluster of many nodes on this machine: each node is a `ray start` of its own, with its own ports and
its own resources, so that a node can be drained or killed as a whole and others go on.

Custom resources stand for what machines have: `ingress` as in the manifests, `accelerator` for a GPU. Serve's
proxies all listen on one port of this machine; the kernel spreads connections over them, as a load balancer
would.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from load_tests.application import free_port
from load_tests.background import last_lines, started, tree

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
OBJECT_STORE_BYTES = 100 * 2**20
REPLICA = "ray::ServeReplica:default:"


class ClusterError(RuntimeError):
    """A node did not start or could not be drained; the message ends with its last lines."""


@dataclass
class RayNode:
    """One node: everything that its `ray start` brought up."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def processes(self) -> list[psutil.Process]:
        """All that belongs to it, itself first; nothing if it is gone."""
        return tree(self.process.pid)

    def actors(self, title: str) -> Counter[str]:
        """How many of its workers have a title that begins so, by what follows."""
        found = Counter[str]()
        for process in self.processes():
            try:
                line = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            if line.startswith(title):
                found[re.split(r"[.\s:]", line.removeprefix(title))[0]] += 1  # what it does may follow
        return found

    def replicas(self) -> Counter[str]:
        """Replicas by deployment."""
        return self.actors(REPLICA)

    @property
    def ray_id(self) -> str:
        """Its id in Ray."""
        for process in self.processes():
            for argument in process.cmdline():
                name, _, value = argument.partition("=")
                if name.replace("-", "_") == "__node_id":
                    return str(value)
        raise ClusterError(f"node {self.name} has no raylet any more:\n{self.last_lines()}")

    def kill(self) -> None:
        """`kill -9` of all of it at once, as when its machine loses power."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def stop(self) -> None:
        """Ends it in order, as its pod's SIGTERM does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        gone = psutil.wait_procs(self.processes(), STOP_TIMEOUT_S)[1]
        if gone:
            self.kill()

    def last_lines(self, count: int = 20) -> str:
        return last_lines(self.log, count)


class LocalCluster:
    """A context manager; starts with a head that has no resources of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        """`environment` holds variables for all nodes beside those of this process."""
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._port = free_port()
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ADDRESS": self.address,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": str(self._directory),
            "RAY_raylet_start_wait_time_s": str(int(START_TIMEOUT_S)),
            **(environment or {}),
        }
        self.nodes: dict[str, RayNode] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> LocalCluster:
        try:
            own = [f"--{port}-port={free_port()}" for port in ("ray-client-server", "dashboard")]
            head = ["--head", f"--port={self._port}", "--include-dashboard=false", *own]
            self._start("head", {}, head)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def add(self, name: str, resources: Mapping[str, float]) -> RayNode:
        """Starts a node with these resources, CPUs beside them, and waits until it has joined."""
        return self._start(name, resources, [f"--address={self.address}"])

    def drain(self, name: str, within_s: int) -> None:
        """Tells Ray that the node goes in so many seconds: what runs there is to move elsewhere."""
        command = [str(Path(sys.executable).with_name("ray")), "drain-node", f"--address={self.address}"]
        command += [f"--node-id={self.nodes[name].ray_id}", "--reason=DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message=drained", f"--deadline-remaining-seconds={within_s}"]
        done = subprocess.run(command, env=self._whole_environment, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"node {name} was not drained:\n{done.stdout}{done.stderr}")

    def replicas(self) -> Counter[str]:
        """Replicas of all nodes by deployment."""
        return sum((node.replicas() for node in self.nodes.values()), Counter[str]())

    def stop(self) -> None:
        """Ends all nodes, the head last."""
        for node in reversed(self.nodes.values()):
            node.stop()
        self.nodes.clear()

    @property
    def _whole_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}

    def _start(self, name: str, resources: Mapping[str, float], role: Sequence[str]) -> RayNode:
        """Once more where it fails: another process may have taken a port that was free."""
        try:
            return self._try_to_start(name, resources, role)
        except ClusterError:
            self.nodes.pop(name).kill()
            return self._try_to_start(name, resources, role)

    def _try_to_start(self, name: str, resources: Mapping[str, float], role: Sequence[str]) -> RayNode:
        """Every port is free or chosen by the node itself: the usual ones fit one node a machine."""
        ports = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent", "metrics-export")
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *role]
        command += [f"--{port}-port={free_port()}" for port in ports]
        command += ["--min-worker-port=0", "--max-worker-port=0", "--node-ip-address=127.0.0.1"]
        command += [f"--num-cpus={8 if resources else 0}", f"--resources={json.dumps(dict(resources))}"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"]
        command += ["--include-log-monitor=false"]  # each node's would repeat all nodes' lines to the driver
        log = self._directory / f"{name}.log"
        process = started(command, self._whole_environment, self._directory, log)
        node = self.nodes[name] = RayNode(name, process, log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Ray runtime started" not in node.last_lines(60):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ClusterError(f"node {name} did not start:\n{node.last_lines()}")
            time.sleep(0.2)
        return node
