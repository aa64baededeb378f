"""`make demo`: the whole system once, for people to look at.

Starts the application, streams a generated street (and a video of yours) over an uplink of 0.8 MB/s, as the
learnt policy chooses, and leaves a video and figures in `demo/`. It stops what it started, also on Ctrl-C.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from clients.bandwidth import Uplink
from clients.camera import Camera
from clients.display import Display
from clients.errors import CameraError
from clients.recorder import Recorder
from clients.report import Summary
from configs.bundle import Bundle, BundleError
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication

SCENE = "demo:"
UPLINK = 0.8  # MB/s


@contextmanager
def streaming(
    application: RunningApplication, source: str, **options: Any
) -> Iterator[tuple[Camera, Display]]:
    """A camera of the application over the demo's uplink, with `options` of its own, and what shows it."""
    display = Display(f"{source} to {application.url}")
    with (
        display,
        Camera(
            source,
            key=application.key,
            server=application.url,
            uplink=Uplink(UPLINK),
            notify=display.notify,
            **options,
        ) as camera,
    ):
        yield camera, display


def stream(
    application: RunningApplication, source: str, segments: int | None, out: Path, totals: Summary
) -> None:
    """Streams one source, saves it beside its segmentation, and adds to the totals."""
    with streaming(application, source, pace="server", masks="all", segments=segments) as (camera, display):
        form = camera.source.format
        classes = camera.terms.classes
        with (
            Recorder(out, classes, form.fps, (form.width, form.height)) as recorder,
            ThreadPoolExecutor(1) as writer,  # draws one segment while the next is on its way
        ):
            drawn: Future[None] | None = None
            for result in camera.run():
                totals.add(result)
                display.show(result, totals)
                if drawn is not None:
                    drawn.result()
                drawn = writer.submit(recorder.add, result)
            if drawn is not None:
                drawn.result()


def demo(
    segments: Annotated[int, typer.Option(min=1, help="segments of the generated street")] = 20,
    video: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="a video to stream too")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for what is written")] = Path("demo"),
) -> None:
    """Start the application, stream a generated street (and a video), write a picture and figures."""
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    try:
        bundle = Bundle.load(Settings().bundle)
    except BundleError as error:
        console.print(f"demo: {error}", style="red")
        raise typer.Exit(1) from error
    totals = Summary(lambda configuration: bundle.costs[configuration.index])
    # Its own database in a folder of its own: a demo changes nothing of an application that is in use.
    state = Path(tempfile.mkdtemp(prefix="penance-demo-"))
    try:
        with console.status("Starting the application (ten seconds or more) ..."):
            application = RunningApplication(state, bundle.directory).__enter__()
        try:
            stream(application, SCENE, segments, out / ("scene.mp4" if video else "out.mp4"), totals)
            if video is not None:
                stream(application, str(video), None, out / "out.mp4", totals)
        finally:
            with console.status("Stopping the application ..."):
                application.stop()
            shutil.copy(application.log, out / "serve.log")
    except (ApplicationError, CameraError) as error:
        console.print(f"demo: {error}", style="red")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        console.print("Interrupted; what was streamed until then is summed up.")
    finally:
        shutil.rmtree(state, ignore_errors=True)
    totals.write(out / "summary.json")
    console.print(totals.line())
    console.print(f"Look at {out / 'out.mp4'}; the figures are in {out / 'summary.json'}.")
    if totals.answered < totals.sent:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(demo)
