"""`penance-camera`: the camera on the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clients.bandwidth import Uplink
    from clients.camera import Camera
    from clients.display import Display
    from clients.report import Summary
    from clients.segment import SegmentResult

HELP = """Send a video to a Penance server, segment by segment, and watch what comes back.

SOURCE is a video file, a webcam's number, an RTSP or HTTP address, or [bold]demo:[/bold] for a street
that is generated.

[bold]Examples[/bold]

\b
  penance-camera demo:                       needs only a server on this machine
  penance-camera street.mp4 --save out.mp4   keep video and segmentation
  penance-camera 0 --name gate-north         a webcam
  penance-camera rtsp://10.0.0.7/live --uplink 0.5
  penance-camera street.mp4 --pace server --policy round-robin --summary run.json

Ctrl-C ends cleanly: the segment on its way is finished, files and the summary are written.
"""

app = typer.Typer(
    add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


class Pace(StrEnum):
    realtime = "realtime"
    server = "server"


class Masks(StrEnum):
    none = "none"
    last = "last"
    all = "all"


SERVER, CHOICE, VIDEO, OUTPUT = "Server", "What is chosen", "Video", "Output"


@app.command(help=HELP)
def camera(
    source: Annotated[str, typer.Argument(help="file, webcam number, address or demo:", show_default=False)],
    server: Annotated[
        str,
        typer.Option(
            envvar="PENANCE_SERVER",
            help="address of the server, or several with commas between them: where one does not answer, "
            "the camera goes on at the next",
            rich_help_panel=SERVER,
        ),
    ] = "http://127.0.0.1:8000",
    key: Annotated[
        str | None,
        typer.Option(
            envvar="PENANCE_KEY",
            show_envvar=True,
            help="the tenant's key, id.secret; else the one that a server's first start here wrote",
            rich_help_panel=SERVER,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="the camera's name; else made from the source", rich_help_panel=SERVER)
    ] = None,
    patience: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="give up after this many seconds without an answer; else never",
            rich_help_panel=SERVER,
        ),
    ] = None,
    one_connection: Annotated[
        bool,
        typer.Option(
            "--one-connection",
            help="send all segments over one WebSocket instead of a request each",
            rich_help_panel=SERVER,
        ),
    ] = False,
    policy: Annotated[
        str,
        typer.Option(
            help="auto: the learnt one of the server's bundle, if it has one for such segments; adapter: "
            "that one or an error; adapter:BUNDLE, fixed:INDEX, fixed:SCALE/QP/VARIANT or round-robin",
            rich_help_panel=CHOICE,
        ),
    ] = "auto",
    explore: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.99,
            help="share of segments for which an adapter draws any configuration that fits, for learning",
            rich_help_panel=CHOICE,
        ),
    ] = 0.0,
    target: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="target mIoU; else the one that the server holds, 0.65 for a new camera",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    pace: Annotated[
        Pace,
        typer.Option(
            help="realtime: the video's own time, what is not uploaded in time is dropped; "
            "server: as fast as answers come, nothing is dropped",
            rich_help_panel=CHOICE,
        ),
    ] = Pace.realtime,
    uplink: Annotated[
        float | None, typer.Option(help="slow the uplink down to this many MB/s", rich_help_panel=CHOICE)
    ] = None,
    uplink_trace: Annotated[
        Path | None,
        typer.Option(help="slow the uplink down by a CSV file of seconds,MB/s", rich_help_panel=CHOICE),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(min=0.001, help="seconds after which an answer is of no use", rich_help_panel=CHOICE),
    ] = None,
    segments: Annotated[
        int | None, typer.Option(min=1, help="end after this many segments", rich_help_panel=VIDEO)
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="start a file anew at its end", rich_help_panel=VIDEO)
    ] = False,
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT that the video is fitted into", rich_help_panel=VIDEO)
    ] = "1280x720",
    fps: Annotated[
        float,
        typer.Option(
            min=0.1, max=120, help="frames per second, picked from the video's", rich_help_panel=VIDEO
        ),
    ] = 15.0,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=10, help="length of a segment", rich_help_panel=VIDEO)
    ] = 1.0,
    save: Annotated[
        Path | None, typer.Option(help="mp4 of the video beside its segmentation", rich_help_panel=OUTPUT)
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="JSON lines, one object per segment", rich_help_panel=OUTPUT)
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(help="JSON with the run's totals and latencies", rich_help_panel=OUTPUT)
    ] = None,
    masks: Annotated[
        Masks, typer.Option(help="label maps to ask for; --save asks for all", rich_help_panel=OUTPUT)
    ] = Masks.none,
) -> None:
    from clients.camera import Camera, default_name  # heavy: not needed for --help
    from clients.display import Display
    from clients.errors import CameraError
    from clients.key import find_key
    from clients.policy import checked_policy
    from clients.source import VideoSource
    from configs.settings import Settings

    box = _parse_size(size)
    try:
        checked_policy(policy, explore)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--policy") from error
    display = Display(f"{name or default_name(source)} to {server}")
    try:
        video = VideoSource(source, seconds=seconds, fps=fps, box=box, loop=loop, notify=display.notify)
        made = Camera(
            video,
            key=find_key(key, Settings().key_file, server, display.notify),
            server=server,
            name=name,
            policy=policy,
            explore=explore,
            target_miou=target,
            pace=pace.value,
            masks="all" if save else masks.value,
            segments=segments,
            uplink=_uplink(uplink, uplink_trace),
            one_connection=one_connection,
            deadline=deadline,
            patience=patience,
            notify=display.notify,
        )
        totals = _run(made, display, save, log, summary)
    except (CameraError, ValueError) as error:
        typer.echo(f"penance-camera: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:  # before the first segment: there is nothing to sum up
        raise typer.Exit(0) from None
    typer.echo(totals.line())


def _run(
    camera: Camera, display: Display, save: Path | None, log: Path | None, summary: Path | None
) -> Summary:
    """Runs the camera to its end, or to Ctrl-C or SIGTERM; writes the summary either way."""
    from clients.interrupt import ends_cleanly
    from clients.recorder import Recorder
    from clients.report import SegmentLog, Summary

    totals = Summary(camera.cost)
    with contextlib.ExitStack() as stack:
        stack.enter_context(ends_cleanly(camera))
        stack.callback(lambda: totals.write(summary) if summary else None)
        stack.enter_context(display)
        stack.enter_context(camera)
        sinks: list[Callable[[SegmentResult], Any]] = [totals.add]
        if log:
            sinks.append(stack.enter_context(SegmentLog(log)).add)
        if save:
            form = camera.source.format
            classes = camera.terms.classes
            recorder = Recorder(save, classes, form.fps, (form.width, form.height))
            sinks.append(stack.enter_context(recorder).add)
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(camera.run()) as results:
            for result in results:
                for sink in sinks:
                    sink(result)
                display.show(result, totals)
    return totals


def _uplink(cap: float | None, trace: Path | None) -> Uplink:
    from clients.bandwidth import Trace, Uplink

    if cap is not None and trace is not None:
        raise ValueError("give --uplink or --uplink-trace, not both")
    return Uplink(Trace.read(trace) if trace else cap)


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) == 2 and all(part.isdigit() for part in parts):
        width, height = int(parts[0]), int(parts[1])
        if 32 <= width <= 4096 and 32 <= height <= 4096 and width % 2 == height % 2 == 0:
            return width, height
    raise typer.BadParameter("give WIDTHxHEIGHT, even numbers from 32 to 4096", param_hint="--size")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
