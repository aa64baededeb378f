"""`python -m load_tests.cameras SCENARIO`: plays a scenario against a server, its own by default."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import gevent
import typer
from locust.env import Environment
from locust.html import get_html_report
from rich.console import Console

from clients.errors import CameraError
from clients.policy import Observation, parse_policy
from clients.source import VideoSource
from configs.bundle import Bundle, BundleError
from configs.ladder import CompressionSetting
from configs.settings import Settings
from load_tests.application import ApplicationError, RunningApplication, image_flags
from load_tests.cameras.library import Library
from load_tests.cameras.report import ScenarioReport, print_report
from load_tests.cameras.scenario import Scenario, ScenarioError
from load_tests.cameras.swarm import Play, users
from load_tests.cameras.tally import Tally
from load_tests.progress import console_for_tables, time_left
from load_tests.tenants import new_tenant
from rl.processor import describe_processor

SPAWN_PER_S = 50.0
GRACE_S = 30.0
"""For answers that are on their way when the scenario ends."""


def cameras(
    scenario: Annotated[Path, typer.Argument(help="a file of load_tests/scenarios, or one of your own")],
    server: Annotated[str | None, typer.Option(help="address; without it a server is started")] = None,
    key: Annotated[str | None, typer.Option(help="tenant's key for --server; all groups share it")] = None,
    factor: Annotated[float, typer.Option(min=0.001, help="times the scenario's cameras")] = 1.0,
    video: Annotated[
        str | None, typer.Option(help="what cameras film, in place of a generated street")
    ] = None,
    segments: Annotated[int, typer.Option(min=1, help="different ones that cameras take in turn")] = 8,
    web: Annotated[int | None, typer.Option(help="port of Locust's page, on this host only")] = None,
    html: Annotated[Path | None, typer.Option(dir_okay=False, help="file of Locust's report")] = None,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
    seed: Annotated[int, typer.Option(help="of phases and links")] = 0,
) -> None:
    """Play a scenario: simulated cameras send at their own clock, whatever the server does."""
    console = console_for_tables(150)
    if (server is None) != (key is None):
        raise typer.BadParameter("--server and --key belong together")
    try:
        played = Scenario.read(scenario).with_cameras(factor)
        bundle = Bundle.load(Settings().bundle)
        library = make_library(played, bundle, video, segments, console)
        with _server(played, bundle, server, key) as (address, keys):
            play = Play(
                played,
                library,
                address,
                keys,
                uuid.uuid4().hex[:8],
                random.Random(seed),
                Tally(library.form.seconds),
            )
            environment = perform(play, web, console)
    except (ApplicationError, BundleError, CameraError, ScenarioError) as error:
        console.print(f"cameras: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    report = ScenarioReport(
        scenario=played,
        run=play.run,
        processor=describe_processor(),
        bundle=bundle.id,
        tenants=play.tally.figures(),
        seconds=played.seconds - played.warm_up_s,
    )
    print_report(report, console)
    if html is not None:
        report_page = get_html_report(environment)  # type: ignore[no-untyped-call]
        html.write_text(report_page, encoding="utf-8")
    if json is not None:
        json.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if any(figures.failed for figures in report.tenants.values()):
        raise typer.Exit(1)


def make_library(
    scenario: Scenario, bundle: Bundle, video: str | None, segments: int, console: Console
) -> Library:
    """Compresses all that the scenario's policies may ask for."""
    form = scenario.segment
    source = VideoSource(
        video or "demo:", seconds=form.seconds, fps=form.fps, box=(form.width, form.height), loop=True
    )
    stream = source.segments()
    if video is None:
        source.format = form
    frames = [next(stream) for _ in range(segments)]
    source.close()
    settings = _settings(scenario, bundle)
    with time_left(console) as bar:
        task = bar.add_task("compressing segments", total=segments * len(settings))
        return Library(bundle, source.format, frames, settings, lambda: bar.update(task, advance=1))


def _settings(scenario: Scenario, bundle: Bundle) -> list[CompressionSetting]:
    """Those of fixed policies, or all. Raises `ScenarioError`."""
    ladder, wanted = bundle.ladder, set[CompressionSetting]()
    for group in scenario.groups:
        if not group.policy.startswith("fixed:"):
            return list(dict.fromkeys(one.setting for one in ladder.configurations))
        try:
            policy = parse_policy(group.policy)(ladder.configurations)
        except ValueError as error:
            raise ScenarioError(str(error)) from error
        wanted.add(ladder[policy.choose(Observation(0.0, None, None, None)).configuration].setting)
    return sorted(wanted, key=lambda setting: (-setting.scale, setting.qp))


@contextlib.contextmanager
def _server(
    scenario: Scenario, bundle: Bundle, server: str | None, key: str | None
) -> Iterator[tuple[str, dict[str, str]]]:
    """An address and a key for each tenant: as given, or of an application of our own."""
    names = sorted({group.tenant for group in scenario.groups})
    if server is not None and key is not None:
        yield server, dict.fromkeys(names, key)
        return
    state = Path(tempfile.mkdtemp(prefix="pn-cameras-"))
    try:
        with RunningApplication(state, bundle.directory, environment=image_flags()) as application:
            tenants = {name: asyncio.run(new_tenant(application)) for name in names}
            yield application.url, tenants
    finally:
        shutil.rmtree(state, ignore_errors=True)


def perform(play: Play, web: int | None, console: Console) -> Environment:
    """Registers all cameras, plays the scenario to its end, and waits for the last answers."""
    environment = Environment(user_classes=users(play), host=play.server)
    runner = environment.create_local_runner()
    page = None if web is None else environment.create_web_ui("127.0.0.1", web)
    try:
        runner.start(play.size, spawn_rate=SPAWN_PER_S)
        with time_left(console) as bar:
            joining = bar.add_task("registering", total=play.size)
            while play.started is None:
                bar.update(joining, completed=play.registered)
                gevent.sleep(0.2)
            bar.update(joining, completed=play.size)
            playing = bar.add_task("playing", total=play.scenario.seconds)
            while play.second < play.scenario.seconds + GRACE_S and runner.user_count:
                bar.update(playing, completed=play.second)
                gevent.sleep(0.5)
        if page is not None:
            console.print(f"Locust's page stays at http://127.0.0.1:{web} until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                gevent.get_hub().join()
    finally:
        for camera in play.cameras:
            camera.close()
        runner.quit()
        if page is not None:
            page.stop()  # type: ignore[no-untyped-call]
    return environment
