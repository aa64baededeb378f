"""`python -m load_tests.chaos.fuzz`."""

from __future__ import annotations

import asyncio
import json as json_format
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.chaos.fuzz.campaign import Campaign, Tally
from load_tests.chaos.fuzz.report import faults, print_report, summary
from load_tests.progress import Ticker, console_for_tables
from load_tests.tenants import new_tenant

TABLE_WIDTH = 150  # where the output is a file
TENANT = "fuzz"
ENVIRONMENT = {"PENANCE_BODY_TIMEOUT_S": "5"}
"""So that an upload that stalls does not hold a case up for half a minute."""


def fuzz(
    cases: Annotated[int, typer.Option(min=1, help="to send")] = 100_000,
    seed: Annotated[int, typer.Option(help="that all cases follow from")] = 1,
    first: Annotated[int, typer.Option(min=0, help="number of the first case: go on where a run ended")] = 0,
    only: Annotated[
        int | None, typer.Option(min=0, help="play this one case again, with what it was answered")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="connections side by side")] = 16,
    proxy: Annotated[
        bool, typer.Option("--proxy/--no-proxy", help="HAProxy before the ingress, as the image has it")
    ] = True,
    json: Annotated[
        Path | None, typer.Option(dir_okay=False, help="file of all figures and findings")
    ] = None,
) -> None:
    """Send mutated segments, requests and WebSocket frames to a real application, and see that it answers
    afterwards as before: no 5xx but the documented refusals, memory back within 2 %, decoders alive.

    A case follows from seed and number alone. Ctrl-C ends with what was found so far."""
    console = console_for_tables(TABLE_WIDTH)
    first, cases = (first, cases) if only is None else (only, 1)
    state = Path(tempfile.mkdtemp(prefix="pn-fuzz-"))
    try:
        bundle = Bundle.load(Settings().bundle)
        flags = {**ENVIRONMENT, **(image_flags() if proxy else {})}
        console.print("starting the application ...")
        with RunningApplication(state, bundle.directory, environment=flags) as application:
            tally = asyncio.run(_send(application, bundle, seed, first, cases, at_once, console))
    except (ApplicationError, BundleError) as error:
        console.print(f"fuzz: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    finally:
        shutil.rmtree(state, ignore_errors=True)
    print_report(tally, seed, console)
    if only is not None:
        console.print(tally.outcomes, [finding.answer for finding in tally.findings], markup=False)
    if tally.next_index < first + cases:
        console.print(f"ended early; go on with --seed {seed} --first {tally.next_index}")
    if json is not None:
        json.write_text(json_format.dumps(summary(tally, seed), indent=1) + "\n", encoding="utf-8")
    if faults(tally):
        raise typer.Exit(1)


async def _send(
    application: RunningApplication,
    bundle: Bundle,
    seed: int,
    first: int,
    cases: int,
    at_once: int,
    console: Console,
) -> Tally:
    key = await new_tenant(application, tenant=TENANT)
    with Ticker(console, cases) as ticker:
        campaign = Campaign(
            application,
            bundle,
            key,
            TENANT,
            seed,
            min(at_once, cases),
            lambda done: ticker.tick(done, _state(campaign.tally)),
        )
        return await campaign.run(first, cases)


def _state(tally: Tally) -> str:
    return f"cases, {len(tally.findings)} findings"


if __name__ == "__main__":
    typer.run(fuzz)
