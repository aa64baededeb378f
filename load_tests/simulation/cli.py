"""The commands of `python -m load_tests.simulation`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clients.administration import LimitsPatch
from clients.protocol import SegmentFormat
from configs.bundle import Bundle
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.footage import Footage
from load_tests.simulation.calibration import CALIBRATION, Calibration, CalibrationError
from load_tests.simulation.measuring import QPS, Calibrating
from load_tests.simulation.mix import ADAPTER, PROFILE, mixes
from load_tests.simulation.report import print_calibration, print_validation
from load_tests.simulation.validation import Validating
from load_tests.tenants import new_tenant
from serving.options import load_options

TABLE_WIDTH = 150
STRETCHES = 4
FORM = SegmentFormat(seconds=1, fps=15, width=1280, height=720)
LIMITS = LimitsPatch(cameras=10_000, segments_per_s=1e6, gflops_per_s=1e9, bytes_per_s=1e12)
FRACTIONS = (0.45, 0.75, 1.5)

app = typer.Typer(
    no_args_is_help=True,
    help="A discrete-event simulation of the platform: calibrate it on a running application, hold it against "
    "that application, and ask it how many machines a fleet of cameras needs and what they cost.",
)

CalibrationFile = Annotated[
    Path, typer.Option("--calibration", dir_okay=False, help="JSON of what segments take")
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
            key = asyncio.run(new_tenant(application, LIMITS))
            options = load_options(Settings().serving_file)
            with console.status("Calibrating ...") as status:
                yield Calibrating(application, bundle, footage, key, options, status.update)
    finally:
        shutil.rmtree(state, ignore_errors=True)


@app.command()
def calibrate(
    out: Annotated[Path, typer.Option(dir_okay=False, help="JSON to write")] = CALIBRATION,
    loop_seconds: Annotated[float, typer.Option(min=5, help="of each closed loop")] = 15.0,
) -> None:
    """Measure what segments take on an application that is started here, one at a time and in closed loops."""
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
    loop_seconds: Annotated[float, typer.Option(min=5, help="of each closed loop")] = 15.0,
    deadline: Annotated[float, typer.Option(min=0.05, help="seconds that every segment allows")] = 3.0,
    profile: ProfileFile = PROFILE,
) -> None:
    """Calibrate, then send three loads that nothing was calibrated on, the adapter's own mix, to the application
    and to the simulation, and compare: throughput within 10 %, p95 within 20 %."""
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


def _calibration(path: Path, console: Console) -> Calibration:
    try:
        return Calibration.load(path)
    except CalibrationError as error:
        console.print(str(error), style="red")
        raise typer.Exit(1) from error
