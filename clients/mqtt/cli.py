"""`penance-mqtt`: a tenant's results to an MQTT broker, on the command line."""

from __future__ import annotations

import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from clients.protocol import DEFAULT_SERVER

HELP = """Publish what a tenant's cameras were answered to an MQTT broker.

Each result is published once to PREFIX/CAMERA/result as JSON (docs/results.md), with quality of service 1:
after a crash the last second's may come again, so go by camera and seq. PREFIX/status says online or offline.

[bold]Examples[/bold]

\b
  penance-mqtt mqtt://localhost
  penance-mqtt mqtts://bridge@broker.example --server https://penance.example --retain
"""

app = typer.Typer(
    add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


class Masks(StrEnum):
    none = "none"
    last = "last"
    all = "all"


@app.command(help=HELP)
def bridge(
    broker: Annotated[str, typer.Argument(help="mqtt://HOST or mqtts://USER@HOST:PORT", show_default=False)],
    server: Annotated[
        str, typer.Option(envvar="PENANCE_SERVER", help="address of the Penance server")
    ] = DEFAULT_SERVER,
    key: Annotated[
        str | None,
        typer.Option(envvar="PENANCE_KEY", show_envvar=True, help="a key of the tenant; read-only is enough"),
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="PENANCE_MQTT_PASSWORD", show_envvar=True, help="of the broker's user"),
    ] = None,
    prefix: Annotated[str, typer.Option(help="first part of all topics")] = "penance",
    masks: Annotated[
        Masks, typer.Option(help="label maps to publish with, as far as they are kept")
    ] = Masks.none,
    retain: Annotated[
        bool, typer.Option("--retain", help="have the broker keep each camera's newest result")
    ] = False,
    position: Annotated[
        Path | None, typer.Option(help="file that notes what was published; else in the state folder")
    ] = None,
) -> None:
    from clients.errors import CameraError
    from clients.key import find_key
    from clients.mqtt.bridge import Broker, Position, run
    from clients.mqtt.names import CameraNames
    from clients.subscription import Results
    from configs.settings import Settings

    def notify(line: str) -> None:
        typer.echo(f"penance-mqtt: {line}", err=True)

    if not prefix or any(sign in prefix for sign in "+#"):
        raise typer.BadParameter("a topic's prefix holds no + and no #", param_hint="--prefix")
    settings, ended = Settings(), False

    def stop(*_: object) -> None:
        nonlocal ended
        ended = True
        results.close()

    try:
        found = find_key(key, settings.key_file, server, notify)
        noted = Position(position or settings.state_directory / "mqtt-position.json")
        results = Results(key=found, server=server, masks=masks.value, after=noted.event, notify=notify)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        with Broker(broker, password, prefix, notify) as opened, CameraNames(server, found) as names, results:
            notify(f"publishing to {prefix}/+/result")
            run(results, opened, noted, names.of, prefix, retain, lambda: ended)
    except CameraError as error:
        typer.echo(f"penance-mqtt: {error}", err=True)
        raise typer.Exit(1) from error


def main() -> None:
    """Entry point of `penance-mqtt`."""
    app()
