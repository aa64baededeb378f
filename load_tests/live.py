"""`make live`: a server, a camera and the page, to look at until Ctrl-C.

What the demo leaves in a video, this shows in the browser while it happens. It stops what it started.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from clients.errors import CameraError
from clients.report import Summary
from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, port_is_free
from load_tests.demo import SCENE, streaming

NAME = "street"


def stream(application: RunningApplication, bundle: Bundle, source: str, console: Console) -> None:
    """One camera in real time until its source or the user's patience ends."""
    totals = Summary(lambda configuration: bundle.costs[configuration.index])
    with streaming(application, source, name=NAME) as (camera, display):
        try:
            for result in camera.run():
                totals.add(result)
                display.show(result, totals)
        finally:
            console.print(totals.line())


def live(
    video: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="a video of yours in place of the generated street"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="of the server, on this machine only")] = 8000,
) -> None:
    """Start the server and a camera, say where the page is and what key opens it, and go on until Ctrl-C."""
    console = Console()
    if not port_is_free(port):
        console.print(f"live: port {port} is in use: stop what uses it, or give another", style="red")
        raise typer.Exit(1)
    # Its own database in a folder of its own: what is looked at changes nothing of a server that is in use.
    state = Path(tempfile.mkdtemp(prefix="penance-live-"))
    try:
        bundle = Bundle.load(Settings().bundle)
        with console.status("Starting the server (half a minute or more) ..."):
            application = RunningApplication(state, bundle.directory, port=port).__enter__()
        try:
            console.print(f"Open {application.url}/ and sign in with the key\n\n    {application.key}\n")
            console.print("Ctrl-C ends it.", style="dim")
            stream(application, bundle, SCENE if video is None else str(video), console)
        finally:
            with console.status("Stopping the server ..."):
                application.stop()
    except (ApplicationError, BundleError, CameraError) as error:
        console.print(f"live: {error}", style="red")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    typer.run(live)
