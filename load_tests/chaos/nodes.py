"""Many nodes: the application on a Ray cluster of this machine, some of whose nodes are drained and killed
while cameras send. Where replicas land, how they follow the load, how long it takes until every camera is
answered again, and whether anything that was accepted is lost or counted twice. It runs by
`python -m load_tests.chaos.nodes`.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import typer
import yaml
from rich.console import Console

from configs.bundle import Bundle
from configs.settings import Settings
from load_tests.application import RunningApplication
from load_tests.chaos.exactly_once import CHEAP
from load_tests.chaos.journal import FORM, Journal, usage_differences
from load_tests.chaos.redis_away import TimedCamera
from load_tests.cluster import LocalCluster
from load_tests.footage import Footage
from load_tests.plain_camera import register_plain
from serving.state.embedded import EmbeddedServer

INGRESS_NODES, VARIANT_NODES = ("ingress-1", "ingress-2"), ("variants-1", "variants-2", "variants-3")
SCALED = "variant-4"
"""What all cameras send to while replicas are to follow the load."""
SETTLED_S = 120.0
"""How long replicas may take to come up elsewhere, or to go."""
DRAIN_S = 60
SERVING = {
    "limits": {
        "cameras": 1000,
        "segments_per_s": 1e6,
        "gflops_per_s": 1e9,
        "bytes_per_s": 1e12,
        "share": 1,
        "lenience": 0,
        "failure_rate": 0.1,
        "silent_after_s": 60,
    },
    "admission": {"lanes": 6, "express": 1, "waiting": 128, "waiting_per_tenant": 64},
    "ingress": {
        "num_replicas": 2,
        "max_ongoing_requests": 256,
        "health_check_period_s": 1,
        "health_check_timeout_s": 5,
        "ray_actor_options": {"num_cpus": 0.1, "resources": {"ingress": 0.6}},
    },
    "variants": {
        "defaults": {
            "autoscaling_config": {
                "min_replicas": 1,
                "max_replicas": 2,
                "target_ongoing_requests": 2,
                "metrics_interval_s": 1,
                "look_back_period_s": 3,
                "upscale_delay_s": 2,
                "downscale_delay_s": 10,
            },
            "max_ongoing_requests": 4,
            "health_check_period_s": 1,
            "health_check_timeout_s": 10,
            "graceful_shutdown_timeout_s": 20,
            "ray_actor_options": {"num_cpus": 0.1, "resources": {"accelerator": 0.25}},
            "decoders": 1,
            "threads": 1,
        }
    },
    "encoder": {
        "num_replicas": 2,
        "health_check_period_s": 1,
        "health_check_timeout_s": 10,
        "ray_actor_options": {"num_cpus": 0.1, "resources": {"accelerator": 0.01}},
    },
}
"""`accelerator` stands for a GPU of which three variants fit a node, so that what one node of three held fits
the other two."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What cameras noticed of one disturbance. `recovered_s` is from its start until the last camera that was
    told anything but an answer was answered again, 0 where none was; `replaced_s` until all replicas were
    there again; `longest_gap_s` is the longest that a camera waited for its next answer, refused or not."""

    what: str
    committed: int
    refused: dict[str, int]
    recovered_s: float
    replaced_s: float
    longest_gap_s: float


@dataclass
class NodesReport:
    """Everything that was seen."""

    placed: dict[str, dict[str, int]] = field(default_factory=dict)
    scaled_up_s: float = float("inf")
    scaled_down_s: float = float("inf")
    disturbances: list[Disturbance] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


@contextmanager
def cluster_application(folder: Path, bundle: Path) -> Iterator[tuple[LocalCluster, RunningApplication]]:
    """The application on a cluster of a head, two nodes for the ingress and three for variants, on a Redis of
    its own."""
    folder.mkdir(parents=True, exist_ok=True)
    serving = folder / "serving.yaml"
    serving.write_text(yaml.safe_dump(SERVING), encoding="utf-8")
    database = EmbeddedServer(folder / "own")
    database.ensure_running()
    own = {  # for every node: where an application is built is Ray's choice
        "REDIS_URL": database.url,
        "PENANCE_SERVING_FILE": str(serving),
        "PENANCE_STATE_DIRECTORY": str(folder / "app"),
        "PENANCE_BUNDLE": str(bundle.resolve()),
    }
    try:
        with LocalCluster(folder / "nodes", own) as cluster:
            for name in INGRESS_NODES:
                cluster.add(name, {"ingress": 1})
            for name in VARIANT_NODES:
                cluster.add(name, {"accelerator": 1})
            environment = {**cluster.environment, **own}
            with RunningApplication(folder / "app", bundle, environment=environment) as application:
                yield cluster, application
    finally:
        database.stop()


@dataclass
class Trial:
    """One application on one cluster, through everything that is tried on it."""

    cluster: LocalCluster
    application: RunningApplication
    bundle: Bundle
    cameras: int
    segments: int
    told: Told
    report: NodesReport = field(default_factory=NodesReport)
    journals: list[Journal] = field(default_factory=list)

    def run(self) -> NodesReport:
        """Placement, load up and down, a drained node, a killed node of variants, a killed node of the
        ingress. Raises `AssertionError` for an answer that no client should ever see."""
        expected = Counter({f"variant-{number}": 1 for number in range(len(self.bundle.ladder.variants))})
        expected.update({"ingress": 2, "encoder": 2})
        until(
            lambda: self.cluster.replicas() >= expected, SETTLED_S
        )  # a replica that starts has another title
        self.report.placed = {name: dict(node.replicas()) for name, node in self.cluster.nodes.items()}
        self._follow_the_load()
        drained = self._holder()
        self._disturb(f"drained {drained}", lambda: self._drain(drained))
        self.cluster.add("variants-4", {"accelerator": 1})
        killed = self._holder()
        self._disturb(f"killed {killed}", self.cluster.nodes[killed].kill)
        self._disturb("killed ingress-1", self.cluster.nodes["ingress-1"].kill)
        with self._http() as http:
            for journal in self.journals:
                journal.camera.http = http  # those that they sent with are closed
            found = [line for journal in self.journals for line in journal.differences(self.bundle)]
            found += usage_differences(http, self.application.key, self.journals, self.bundle)
        self.report.differences = found
        return self.report

    def _holder(self) -> str:
        """The node with the first replica of `SCALED`: what goes with it is missed."""
        return next(name for name, node in self.cluster.nodes.items() if node.replicas()[SCALED])

    def _drain(self, name: str) -> None:
        """As Kubernetes takes a node: Ray is told, replicas move, then the node goes."""
        self.cluster.drain(name, DRAIN_S)
        node = self.cluster.nodes[name]
        until(lambda: not node.replicas(), DRAIN_S)
        node.stop()

    def _http(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=None)
        return httpx.Client(base_url=self.application.url, timeout=120, limits=limits)

    def _new_journals(self, http: httpx.Client, rungs: Sequence[tuple[float, int, int]]) -> list[Journal]:
        configurations = tuple(self.bundle.ladder.index(*rung) for rung in rungs)
        (body,) = Footage(self.bundle, FORM, stretches=1).bodies(self.bundle.ladder[configurations[0]])
        found = []
        for number in range(self.cameras):
            plain = register_plain(http, self.application.key, FORM)
            camera = TimedCamera(http, plain.id, plain.token, plain.bundle, plain.next_seq)
            found.append(Journal(camera, configurations, self.segments, body, random.Random(number)))
        self.journals += found
        return found

    @contextmanager
    def _sending(self, rungs: Sequence[tuple[float, int, int]] = CHEAP) -> Iterator[list[Journal]]:
        """All cameras send their segments meanwhile; leaves when the last is settled."""
        with self._http() as http:
            journals = self._new_journals(http, rungs)
            with ThreadPoolExecutor(self.cameras) as pool:
                running = [pool.submit(journal.run) for journal in journals]
                yield journals
                for future in running:
                    future.result()

    def _follow_the_load(self) -> None:
        """Cameras send until there is another replica; then until there is one again, nobody does."""
        began = time.monotonic()
        followed = threading.Event()

        def watch() -> None:
            if until(lambda: self.cluster.replicas()[SCALED] >= 2, SETTLED_S):
                self.report.scaled_up_s = time.monotonic() - began
            followed.set()

        watching = threading.Thread(target=watch)
        watching.start()
        self.told(f"waiting for another replica of {SCALED}")
        while not followed.is_set():
            with self._sending(CHEAP[:1]):
                pass
        watching.join()
        ended = time.monotonic()
        self.told(f"waiting for {SCALED} to have one replica again")
        if until(lambda: self.cluster.replicas()[SCALED] == 1, SETTLED_S):
            self.report.scaled_down_s = time.monotonic() - ended
        self.told(f"up {self.report.scaled_up_s:.1f} s, down {self.report.scaled_down_s:.1f} s")

    def _disturb(self, what: str, disturbing: Callable[[], None]) -> None:
        """Does it when a quarter of what the cameras send is committed."""
        least = dict.fromkeys(self.cluster.replicas(), 1) | {"ingress": 2, "encoder": 2}
        if "ingress" in what:
            least["ingress"] = 1  # nowhere else has room for the other
        replaced_s = float("inf")
        with self._sending() as journals:
            quarter = self.cameras * self.segments // 4
            until(lambda: sum(len(journal.committed) for journal in journals) >= quarter, SETTLED_S)
            self.told(what)
            began = time.monotonic()
            working = threading.Thread(target=disturbing)
            working.start()
            time.sleep(0.2)

            def whole() -> bool:
                there = self.cluster.replicas()
                return not working.is_alive() and all(there[name] >= n for name, n in least.items())

            if until(whole, SETTLED_S):
                replaced_s = time.monotonic() - began
            working.join()
        self.report.disturbances.append(noticed(what, journals, began, replaced_s))
        self.told(str(self.report.disturbances[-1]))


def noticed(what: str, journals: Sequence[Journal], began: float, replaced_s: float) -> Disturbance:
    """What the cameras wrote down from `began` on (`time.monotonic`)."""
    refused, recovered, gaps = Counter[str](), 0.0, [0.0]
    for journal in journals:
        assert isinstance(journal.camera, TimedCamera)
        replies = sorted(
            (reply for reply in journal.camera.replies if reply.told >= began), key=lambda r: r.told
        )
        bad = [reply for reply in replies if reply.status not in (200, 409)]
        refused.update(reply.problem.rpartition(":")[2] or f"status {reply.status}" for reply in bad)
        good = [reply.told for reply in replies if reply.status == 200]
        if bad:
            recovered = max(recovered, min((t for t in good if t > bad[-1].told), default=began) - began)
        gaps += [later - earlier for earlier, later in zip([began, *good], good, strict=False)]
    return Disturbance(
        what=what,
        committed=sum(len(journal.committed) for journal in journals),
        refused=dict(refused),
        recovered_s=recovered,
        replaced_s=replaced_s,
        longest_gap_s=max(gaps),
    )


def until(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether it came to hold in that time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def print_nodes(report: NodesReport, console: Console) -> None:
    """Everything, in lines."""
    for node, replicas in report.placed.items():
        held = ", ".join(f"{name} x{count}" for name, count in sorted(replicas.items()))
        console.print(f"{node}: {held or 'no replica'}")
    console.print(f"{SCALED} had another replica after {report.scaled_up_s:.1f} s of load")
    console.print(f"and one again {report.scaled_down_s:.1f} s after it")
    for one in report.disturbances:
        told = ", ".join(f"{count} x {why}" for why, count in sorted(one.refused.items())) or "nothing else"
        console.print(
            f"{one.what}: {one.committed} segments accepted; told besides answers: {told}; every camera "
            f"answered {one.recovered_s:.1f} s, all replicas there {one.replaced_s:.1f} s after it; the "
            f"longest time without an answer at a camera: {one.longest_gap_s:.1f} s"
        )
    for line in report.differences:
        console.print(line, style="red")
    if not report.differences:
        console.print("counters, averages and usage equal the sequential reference exactly")


def nodes(
    cameras: Annotated[int, typer.Option(min=1, help="that send at once")] = 10,
    segments: Annotated[int, typer.Option(min=20, help="of each camera in each part")] = 60,
) -> None:
    """Run the application on a cluster of six nodes; drain one and kill two while cameras send."""
    console, bundle = Console(), Bundle.load(Settings().bundle)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that no node is left behind
    folder = Path(tempfile.mkdtemp(prefix="pn-n-"))
    try:
        with cluster_application(folder, bundle.directory) as (cluster, application):
            report = Trial(cluster, application, bundle, cameras, segments, console.print).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_nodes(report, console)
    if report.differences:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(nodes)
