"""Faults, one after the other, under a load that does not fill the machine: what cameras saw, how long it
took to recover, and whether anything was lost or counted twice. `python -m load_tests.chaos.kills`.
"""

from __future__ import annotations

import asyncio
import json as json_format
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import yaml
from rich.console import Console
from rich.table import Table

from configs.bundle import Bundle, BundleError
from configs.settings import SHIPPED_OPTIONS, Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.chaos.camera_kill import CAMERA_KILLED, kill_camera
from load_tests.chaos.faults import (
    FAULTS,
    OF_TWO,
    ONLY,
    THROUGH_LINK,
    NotHere,
    Scene,
    asked,
    small_disk,
)
from load_tests.chaos.journal import FORM
from load_tests.chaos.link import Link
from load_tests.chaos.processes import family
from load_tests.chaos.steady import SteadyTraffic, seen
from load_tests.footage import Footage
from load_tests.progress import Ticker, console_for_tables
from load_tests.tenants import new_tenant
from serving.options import load_options

SCALE, QP = 0.5, 30
CALM_S, PATIENCE_S = 5.0, 120.0
SECOND_ADDRESS = "proxy killed, two addresses"
PROXY = "proxy killed"
WAITED_FOR = ("ingress", "variant", "encoder", "decoder", "haproxy", "proxy", "controller")
TABLE_WIDTH = 150  # where the output is a file


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case. `not_run` says why it did not happen; `differences` is empty where all is counted right."""

    case: str
    told: dict[str, int]
    longest_gap_s: float = 0.0
    gap_began_s: float = 0.0
    recovered_s: float = 0.0
    answered: int = 0
    differences: tuple[str, ...] = ()
    not_run: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What cameras send."""

    bundle: Bundle
    body: bytes
    cameras: int
    interval_s: float

    @property
    def variants(self) -> int:
        return len(self.bundle.manifest.variants)

    def rung(self, variant: int) -> int:
        return self.bundle.ladder.index(SCALE, QP, variant)


def run_case(name: str, scene: Scene, load: Load, second: RunningApplication | None = None) -> Outcome:
    """One fault under the load of a new tenant's cameras. With a second application on the same database,
    cameras know both addresses."""
    application = scene.application
    fault = FAULTS[PROXY if name == SECOND_ADDRESS else name]
    addresses = scene.link.url if name in THROUGH_LINK else application.url
    if second is not None:
        addresses = f"{addresses},{second.url}"
    key = asyncio.run(new_tenant(application))
    # what is counted is asked for at an address that is up
    status_url = application.url if second is None else second.url
    traffic = SteadyTraffic(load.bundle, key, status_url, load.body, [load.rung(asked(name))])
    try:
        if second is not None:  # what starts cold is slow for reasons of its own
            other = asyncio.run(new_tenant(application))
            warming = SteadyTraffic(load.bundle, other, second.url, load.body, [load.rung(asked(name))])
            with warming.sending(second.url, load.cameras, load.interval_s):
                _calm(warming, time.monotonic())
        with traffic.sending(addresses, load.cameras, load.interval_s):
            _calm(traffic, time.monotonic())
            began = time.monotonic()
            with fault(scene):
                pass
            ended = time.monotonic()
            watched = _calm(traffic, ended)
            found = seen(traffic.attempts(), began, ended, watched)
    except NotHere as reason:
        return Outcome(name, {}, not_run=str(reason))
    differences = tuple(traffic.differences())
    return Outcome(
        name,
        found.told,
        found.longest_gap_s,
        found.gap_began_s,
        found.recovered_s,
        found.answered,
        differences,
    )


def _calm(traffic: SteadyTraffic, since: float) -> float:
    """Waits until every camera has been told nothing but answers for a while; when that was (monotonic)."""
    ends = time.monotonic() + PATIENCE_S
    while (now := time.monotonic()) < ends and not any(camera.fault for camera in traffic.cameras):
        recent = [[a for a in attempts if a.ended > now - CALM_S] for attempts in traffic.attempts()]
        if now - since > CALM_S and all(some and not any(a.told for a in some) for some in recent):
            return now
        time.sleep(0.2)
    return time.monotonic()


def run_all(names: Sequence[str], load: Load, proxy: bool, console: Console) -> list[Outcome]:
    """All cases on one application. Raises `ApplicationError` if it does not start."""
    folder, outcomes = Path(tempfile.mkdtemp(prefix="pn-kills-")), list[Outcome]()
    flags = {**(image_flags() if proxy else {}), "PENANCE_SERVING_FILE": str(_serving_file(folder))}
    try:
        with ExitStack() as held:
            held.enter_context(small_disk(folder / "app" / "redis"))
            console.print("starting the application ...")
            application = RunningApplication(folder / "app", load.bundle.directory, environment=flags)
            held.enter_context(application)
            link = held.enter_context(Link(urlsplit(application.url).port or 0))
            scene, ticker = Scene(application, link), held.enter_context(Ticker(console, len(names)))
            whole = _wait_until_whole(application, {"variant": load.variants + 1})
            for done, name in enumerate(names):
                ticker.tick(done, name)
                _wait_until_whole(application, whole)
                outcome = _outcome(name, scene, load, folder, proxy)
                outcomes.append(outcome)
                console.print(_line(outcome), markup=False)
            ticker.tick(len(names), "done")
    except KeyboardInterrupt:
        console.print("ended early")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def _serving_file(folder: Path) -> Path:
    """The shipped options with a second replica of one variant."""
    sections = yaml.safe_load(SHIPPED_OPTIONS.read_text(encoding="utf-8"))
    variants = sections["variants"]
    two = {"min_replicas": 2, "max_replicas": 2}
    variants["overrides"] = {OF_TWO: {"autoscaling_config": variants["defaults"]["autoscaling_config"] | two}}
    path = folder / "serving.yaml"
    path.write_text(yaml.safe_dump({"variants": variants}), encoding="utf-8")
    return path


def _wait_until_whole(application: RunningApplication, whole: dict[str, int]) -> dict[str, int]:
    """Waits until no kind has fewer processes than in `whole` and every replica of a variant has its
    decoders, which it starts once it is ready; what there is then. A fault must not meet what the one before
    it left."""
    decoders = load_options(SHIPPED_OPTIONS).variant(ONLY).decoders
    ends = time.monotonic() + PATIENCE_S
    while True:
        now = {kind: len(some) for kind, some in family(application).items()}
        ready = now.get("decoder", 0) >= decoders * now.get("variant", 0)
        if ready and all(now.get(kind, 0) >= whole.get(kind, 0) for kind in WAITED_FOR):
            return now
        if time.monotonic() > ends:
            return now
        time.sleep(0.5)


def _outcome(name: str, scene: Scene, load: Load, folder: Path, proxy: bool) -> Outcome:
    if name == CAMERA_KILLED:
        told, gap, answered, differences = kill_camera(scene.application, folder, load.rung(ONLY))
        return Outcome(name, told, gap, 0.0, gap, answered, differences)
    if name != SECOND_ADDRESS:
        return run_case(name, scene, load)
    flags = {
        **(image_flags() if proxy else {}),
        "REDIS_URL": f"unix://{scene.database_directory}/valkey.sock",
    }
    bundle = load.bundle.directory
    with RunningApplication(folder / "second", bundle, environment=flags) as second:
        return run_case(name, scene, load, second)


def _line(outcome: Outcome) -> str:
    if outcome.not_run:
        return f"{outcome.case}: not run: {outcome.not_run}"
    return (
        f"{outcome.case}: gap {outcome.longest_gap_s:.2f} s from {outcome.gap_began_s:.2f} s on, "
        f"recovered after {outcome.recovered_s:.2f} s, "
        f"{outcome.told or 'nothing but answers'}, {outcome.answered} answers, "
        f"{'; '.join(outcome.differences) or 'counted exactly'}"
    )


def print_table(outcomes: Sequence[Outcome], console: Console) -> None:
    table = Table("case", "cameras were told", "longest gap, s", "recovered, s", "answers", "counted")
    for outcome in outcomes:
        if outcome.not_run:
            table.add_row(outcome.case, f"not run: {outcome.not_run}")
            continue
        told = ", ".join(f"{n} x {what}" for what, n in sorted(outcome.told.items()))
        table.add_row(
            outcome.case,
            told or "answers",
            f"{outcome.longest_gap_s:.1f}",
            f"{outcome.recovered_s:.1f}" if math.isfinite(outcome.recovered_s) else "never",
            str(outcome.answered),
            "exactly" if not outcome.differences else f"{len(outcome.differences)} differences",
        )
    console.print(table)
    for outcome in outcomes:
        for line in outcome.differences:
            console.print(f"{outcome.case}: {line}", style="red", markup=False)


ALL = (*FAULTS, CAMERA_KILLED, SECOND_ADDRESS)


def kills(
    case: Annotated[
        list[str] | None, typer.Option(help=f"only this one; may be given again: {'; '.join(ALL)}")
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, help="that send side by side")] = 6,
    interval: Annotated[float, typer.Option(min=0.05, help="seconds between a camera's segments")] = 0.5,
    proxy: Annotated[
        bool, typer.Option("--proxy/--no-proxy", help="HAProxy before the ingress, as the image has it")
    ] = True,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Kill, stop and starve one part after the other under load; compare with a sequential reference.

    Ctrl-C ends with the cases that are done."""
    console = console_for_tables(TABLE_WIDTH)
    names = list(case or ALL)
    if unknown := set(names) - set(ALL):
        raise typer.BadParameter(f"no such case: {', '.join(sorted(unknown))}. There are: {'; '.join(ALL)}")
    try:
        bundle = Bundle.load(Settings().bundle)
        rung = bundle.ladder[bundle.ladder.index(SCALE, QP, ONLY)]
        (body,) = Footage(bundle, FORM, stretches=1).bodies(rung)
        outcomes = run_all(names, Load(bundle, body, cameras, interval), proxy, console)
    except (ApplicationError, BundleError) as error:
        console.print(f"kills: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    print_table(outcomes, console)
    if json is not None:
        json.write_text(json_format.dumps([asdict(o) for o in outcomes], indent=1) + "\n", encoding="utf-8")
    if len(outcomes) < len(names) or any(outcome.differences for outcome in outcomes):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(kills)
