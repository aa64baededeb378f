"""What the state costs Redis: operations and time a segment, and bytes a camera, with up to a million
cameras."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import redis.asyncio as redis
import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from clients.protocol import Registration
from configs.settings import Settings
from load_tests.benchmarks.arguments import write_figures
from load_tests.progress import console_for_tables, time_left
from serving.performance.network import EMBEDDING
from serving.state.embedded import EmbeddedServer
from serving.state.store import Commit, StateStore

AT_ONCE = 64
SEGMENTS = 3
"""Of each camera. An idle camera keeps its state and its last answers, as many as the settings say."""
TENANT = "bench"


class Level(BaseModel):
    """What Redis holds and does with so many cameras. Operations are commands that reach Redis, scripts
    counted once; `inside` are those that scripts run."""

    cameras: int
    bytes_a_camera: float
    operations_a_segment: float
    inside_a_segment: float
    redis_us_a_segment: float
    segments_per_s: float


def redis_state(
    cameras: Annotated[str, typer.Option(help="numbers of cameras, by commas, rising")] = "1000,10000,100000",
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="file of all figures")] = None,
) -> None:
    """Register cameras and commit segments of each straight at the store; say what that takes."""
    console = console_for_tables()
    try:
        wanted = sorted({int(part) for part in cameras.split(",")})
    except ValueError as error:
        raise typer.BadParameter(f"--cameras {cameras}: give whole numbers, by commas") from error
    folder = Path(tempfile.mkdtemp(prefix="pn-redis-"))
    server = EmbeddedServer(folder)
    try:
        server.ensure_running()
        with time_left(console) as bar:
            task = bar.add_task("cameras", total=wanted[-1])
            levels = asyncio.run(_fill(server.url, wanted, lambda: bar.update(task, advance=1)))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    _print(levels, console)
    write_figures(levels, json)


async def _fill(url: str, wanted: list[int], done: Callable[[], None]) -> list[Level]:
    settings = Settings()
    store, client = StateStore.of(settings, url), redis.from_url(url)
    levels, held, empty = [], 0, await _bytes(client)
    try:
        for count in wanted:
            await _in_turn(held, count, lambda camera: _register(store, camera), lambda: None)
            await client.config_resetstat()
            started = time.perf_counter()
            await _in_turn(held, count, lambda camera: _live(store, camera), done)
            elapsed, segments = time.perf_counter() - started, SEGMENTS * (count - held)
            outer, inner, busy_us = await _commands(client)
            levels.append(
                Level(
                    cameras=count,
                    bytes_a_camera=(await _bytes(client) - empty) / count,
                    operations_a_segment=outer / segments,
                    inside_a_segment=inner / segments,
                    redis_us_a_segment=busy_us / segments,
                    segments_per_s=segments / elapsed,
                )
            )
            held = count
    finally:
        await store.close()
        await client.aclose()
    return levels


async def _in_turn(
    first: int, end: int, work: Callable[[str], Awaitable[object]], done: Callable[[], None]
) -> None:
    """Does the work for each camera, a few at once."""

    async def worker(numbers: Iterator[int]) -> None:
        for number in numbers:  # shared by all workers
            await work(f"{number:016x}")
            done()

    numbers = iter(range(first, end))
    await asyncio.gather(*(worker(numbers) for _ in range(AT_ONCE)))


async def _register(store: StateStore, camera: str) -> None:
    await store.register(TENANT, camera, Registration(name=camera), most=10**9)


async def _live(store: StateStore, camera: str) -> None:
    """A camera's first segments, as the ingress takes them, without what quotas take."""
    chance = random.Random(camera)
    for seq in range(SEGMENTS):
        await store.begin(camera, seq)
        await store.commit(camera, _commit(seq, chance))


def _commit(seq: int, chance: random.Random) -> Commit:
    embedding = [chance.random() for _ in range(EMBEDDING)]
    answer = "".join(
        chance.choices("0123456789abcdef", k=3000)
    )  # an answer's size: embedding, shares, timings
    return Commit(
        seq=seq,
        configuration=chance.randrange(90),
        cost=chance.random(),
        overuse=chance.random() - 0.5,
        deficit=chance.random() - 0.5,
        size=50_000,
        frames=15,
        target=0.65,
        flops=10**10,
        answer=answer,
        embedding=embedding,
        dropped=(),
        result=answer[:600],
    )


async def _bytes(client: Any) -> int:
    return int((await client.info("memory"))["used_memory"])


async def _commands(client: Any) -> tuple[int, int, float]:
    """Commands that were sent, those that scripts ran, and microseconds of all that were sent."""
    found = await client.info("commandstats")
    scripts = found.pop("cmdstat_evalsha")
    inner = sum(int(stats["calls"]) for stats in found.values())
    return int(scripts["calls"]), inner, float(scripts["usec"])


def _print(levels: list[Level], console: Console) -> None:
    table = Table(title=f"State of cameras in Redis, {SEGMENTS} segments each")
    for name in (
        "cameras",
        "bytes a camera",
        "scripts a segment",
        "commands inside",
        "Redis us a segment",
        "segments/s",
    ):
        table.add_column(name, justify="right")
    for level in levels:
        table.add_row(
            f"{level.cameras:,}",
            f"{level.bytes_a_camera:,.0f}",
            f"{level.operations_a_segment:.2f}",
            f"{level.inside_a_segment:.1f}",
            f"{level.redis_us_a_segment:.0f}",
            f"{level.segments_per_s:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    typer.run(redis_state)
