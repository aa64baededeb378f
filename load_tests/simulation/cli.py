"""The commands of `python -m load_tests.simulation`."""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic_core import to_json
from rich.console import Console

from clients.protocol import SegmentFormat
from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.footage import Footage
from load_tests.simulation.calibration import CALIBRATION, Calibration, CalibrationError
from load_tests.simulation.cell import Cell, CellLoad, ingress_nodes_for
from load_tests.simulation.figures import draw_plan
from load_tests.simulation.machines import MACHINES, Machines, MachinesError
from load_tests.simulation.measuring import QPS, Calibrating
from load_tests.simulation.mix import ADAPTER, PROFILE, mixes
from load_tests.simulation.plan import (
    CELL_CAMERAS,
    GPU_NODES,
    LANES_A_REPLICA,
    OTHER_NODES,
    Need,
    Planner,
    Promise,
    Served,
    needed,
)
from load_tests.simulation.ramp import Ramp, follow, rules
from load_tests.simulation.report import (
    print_calibration,
    print_followed,
    print_plan,
    print_validation,
)
from load_tests.simulation.validation import Validating
from load_tests.tenants import new_tenant
from rl.profiles.store import ProfileError
from serving.options import load_options

TABLE_WIDTH = 150
STRETCHES = 4
FORM = SegmentFormat(seconds=1, fps=15, width=1280, height=720)
FRACTIONS = (0.45, 0.75, 1.5)
"""Of the most that is answered, as simulated: light, busy, and more than the machine can do."""
FLEETS = (1_000, 100_000, 1_000_000)
SHOWN = ("g6.2xlarge", "c7i.2xlarge")
TARGETS, LANES = (1.0, 2.0), (16, 48)

app = typer.Typer(
    no_args_is_help=True,
    help="A discrete-event simulation of the platform: calibrate it on a running application, hold it "
    "against that application, and ask it how many machines a fleet of cameras needs and what they cost.",
)

CalibrationFile = Annotated[
    Path, typer.Option("--calibration", dir_okay=False, help="JSON of what segments take")
]
MachinesFile = Annotated[
    Path, typer.Option("--machines", dir_okay=False, help="YAML of machine types and prices")
]
ProfileFile = Annotated[
    Path, typer.Option("--profile", exists=True, dir_okay=False, help="digest of a profile: what cameras see")
]


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)


@contextmanager
def _calibrating(console: Console, bundle: Bundle, settings: set[int]) -> Iterator[Calibrating]:
    """A running application without quotas, and footage compressed beforehand for these configurations and
    for all that a calibration sends."""
    ladder, footage = bundle.ladder, Footage(bundle, FORM, STRETCHES)
    with console.status("Compressing the footage ..."):
        sent = {ladder.index(scale, qp, 0) for scale in ladder.scales for qp in QPS} | settings
        for index in sorted(sent):
            footage.bodies(ladder[index])
    state = Path(tempfile.mkdtemp(prefix="pn-sim-"))
    try:
        with RunningApplication(state, bundle.directory, environment=image_flags()) as application:
            key = asyncio.run(new_tenant(application))
            options = load_options(Settings().serving_file)
            with console.status("Calibrating ...") as status:
                yield Calibrating(application, bundle, footage, key, options, status.update)
    finally:
        shutil.rmtree(state, ignore_errors=True)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(dir_okay=False, help="JSON to write")] = CALIBRATION,
    loop_seconds: Annotated[float, typer.Option(min=5, help="of each closed loop, of three rounds")] = 8.0,
) -> None:
    """Measure what segments take on an application that is started here, alone and in closed loops."""
    console, bundle = _console(), Bundle.load(Settings().bundle)
    try:
        with _calibrating(console, bundle, set()) as calibrating:
            found = calibrating.measure(loop_seconds)
    except ApplicationError as error:
        console.print(f"calibrate: {error}", style="red")
        raise typer.Exit(1) from error
    out.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_calibration(found, console)


@app.command()
def validate(
    calibration: Annotated[
        Path | None, typer.Option(dir_okay=False, help="JSON to write what was calibrated to")
    ] = None,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="JSON of the comparison to write")] = None,
    seconds: Annotated[float, typer.Option(min=10, help="of each load; the first 15 % are not counted")] = 75,
    loop_seconds: Annotated[float, typer.Option(min=5, help="of each closed loop, of three rounds")] = 8.0,
    deadline: Annotated[float, typer.Option(min=0.05, help="seconds that every segment allows")] = 3.0,
    profile: ProfileFile = PROFILE,
) -> None:
    """Calibrate, then send three loads that nothing was calibrated on, of the adapter's own mix, to the
    application and to the simulation, and compare: throughput within 10 %, p95 within 20 %."""
    console, bundle = _console(), Bundle.load(Settings().bundle)
    mix = mixes(profile, bundle)[ADAPTER].shares()
    try:
        with _calibrating(console, bundle, set(mix)) as calibrating:
            found = calibrating.measure(loop_seconds)
            compared = Validating(
                calibrating.application,
                bundle,
                calibrating.footage,
                calibrating.key,
                calibrating.options,
                found,
                mix,
                deadline,
                calibrating.told,
            ).compare(FRACTIONS, seconds)
    except ApplicationError as error:
        console.print(f"validate: {error}", style="red")
        raise typer.Exit(1) from error
    if calibration is not None:
        calibration.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if json is not None:
        json.write_text(compared.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print_calibration(found, console)
    print_validation(compared, console)
    if not all(load.holds for load in compared.loads):
        raise typer.Exit(1)


@app.command()
def plan(
    machine: Annotated[
        list[str] | None,
        typer.Option(help="that variants run on, by its name in --machines; may be repeated"),
    ] = None,
    cameras: Annotated[list[int] | None, typer.Option(min=1, help="sizes of fleets; may be repeated")] = None,
    p95: Annotated[float, typer.Option(min=1, help="ms that 95 % of answers may take, uploads apart")] = 1500,
    deadline: Annotated[float, typer.Option(min=0.05, help="seconds that every segment allows")] = 3.0,
    lanes: Annotated[
        float, typer.Option(min=0.1, help="of all ingress replicas, for each replica of a variant")
    ] = LANES_A_REPLICA,
    calibration: CalibrationFile = CALIBRATION,
    machines: MachinesFile = MACHINES,
    profile: ProfileFile = PROFILE,
    whole: Annotated[bool, typer.Option(help="also simulate one full cell with the adapter")] = False,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="JSON of all figures to write")] = None,
    plot: Annotated[Path | None, typer.Option(dir_okay=False, help="PNG to write")] = None,
) -> None:
    """How many machines fleets of cameras need, with the adapter and without, and what they cost a month."""
    console, bundle = _console(), Bundle.load(Settings().bundle)
    try:
        measured, types = Calibration.load(calibration), Machines.load(machines)
        names = machine or list(SHOWN)
        promise = Promise(p95_ms=p95, deadline_s=deadline)
        served: list[Served] = []
        needs: list[Need] = []
        checked: dict[str, CellLoad] = {}
        with console.status("Playing the policies ...") as status:
            chosen = mixes(profile, bundle)
            for name in names:
                nodes = OTHER_NODES if types.machine(name).gpu is None else GPU_NODES
                cell = Cell(bundle, measured, types, types.machine(name), nodes, 2, 1)
                planner = Planner(cell, name, promise, status.update, lanes)
                for mix in chosen.values():
                    one = planner.served(mix)
                    own = needed(one, types, ingress_nodes_for(CELL_CAMERAS, measured), cameras or FLEETS)
                    served.append(one)
                    needs += own
                    if whole and mix.policy == ADAPTER:
                        full = math.ceil(CELL_CAMERAS / one.cameras_a_node)
                        status.update(f"{name}: one full cell of {full} nodes")
                        checked[name] = planner.whole(mix, full, CELL_CAMERAS)
    except (CalibrationError, MachinesError, ProfileError, BundleError, ValueError) as error:
        console.print(f"plan: {error}", style="red")
        raise typer.Exit(1) from error
    print_plan(served, needs, types.currency, console)
    for name, load in checked.items():
        console.print(
            f"one full cell of {load.cameras} cameras on {name}: {load.per_s:.0f} answers a second, "
            f"p95 {load.p95_ms:.0f} ms, {load.refused:.2%} refused"
        )
    if json is not None:
        content = {"served": served, "needs": needs, "whole": checked}
        json.write_text(to_json(content, indent=1).decode() + "\n", encoding="utf-8")
    if plot is not None:
        draw_plan(served, needs, types.currency, plot)


@app.command()
def autoscaling(
    machine: Annotated[str, typer.Option(help="that variants run on, by its name in --machines")] = SHOWN[0],
    cameras: Annotated[int, typer.Option(min=1, help="at the busiest time")] = 200,
    most_nodes: Annotated[int, typer.Option(min=1, help="of variants")] = 16,
    target: Annotated[
        list[float] | None, typer.Option(help="target_ongoing_requests to try; may be repeated")
    ] = None,
    lanes: Annotated[list[int] | None, typer.Option(help="lanes to try; may be repeated")] = None,
    deadline: Annotated[float, typer.Option(min=0.05, help="seconds that every segment allows")] = 3.0,
    calibration: CalibrationFile = CALIBRATION,
    machines: MachinesFile = MACHINES,
    profile: ProfileFile = PROFILE,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="JSON of all figures to write")] = None,
) -> None:
    """Try rules of autoscaling on cameras that come on within seven minutes, stay, and go."""
    console, bundle = _console(), Bundle.load(Settings().bundle)
    try:
        measured, types = Calibration.load(calibration), Machines.load(machines)
        cell, found = Cell(bundle, measured, types, types.machine(machine), 1, 2, 16), []
        with console.status("Playing the policies ...") as status:
            mix = mixes(profile, bundle)[ADAPTER]
            for rule in rules(target or TARGETS, lanes or LANES):
                status.update(f"{rule}")
                found.append(follow(cell, mix, rule, Ramp(), cameras, most_nodes, deadline))
    except (CalibrationError, MachinesError, ProfileError, BundleError) as error:
        console.print(f"autoscaling: {error}", style="red")
        raise typer.Exit(1) from error
    print_followed(found, console)
    if json is not None:
        json.write_text(to_json(found, indent=1).decode() + "\n", encoding="utf-8")
