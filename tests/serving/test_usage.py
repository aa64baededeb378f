"""Usage against a real database: every accepted segment once, whatever breaks while it is folded."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time
import uuid
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from clients.protocol import Registration
from clients.usage import UsageReport
from configs.rates import RateCard, load_rates
from configs.settings import Settings
from serving.admin.cli import app
from serving.admin.usage import usage_report
from serving.state.embedded import EmbeddedServer
from serving.state.store import Commit, StateStore
from serving.state.usage import Amounts, usage_key

RATES = RateCard.model_validate(
    {"currency": "EUR", "camera_month": "4", "million_segments": "2", "petaflop": "0.5", "gigabyte": "0.25"}
)


async def new_camera(store: StateStore, tenant: str, name: str = "gate") -> str:
    return await store.register(tenant, uuid.uuid4().hex, Registration(name=name), 100)


async def accept(store: StateStore, camera: str, seq: int, flops: int = 10**12, size: int = 1000) -> bool:
    await store.begin(camera, seq)
    commit = Commit(
        seq=seq,
        configuration=7,
        cost=0.25,
        overuse=None,
        deficit=None,
        size=size,
        frames=15,
        target=0.65,
        flops=flops,
        answer="{}",
        embedding=None,
        dropped=(),
    )
    return (await store.commit(camera, commit)).past_hours


async def report(store: StateStore, tenant: str, month: str | None = None) -> UsageReport:
    return await usage_report(store.usage, RATES, tenant, month)


async def put_past_hour(store: StateStore, camera: str, hour: int) -> None:
    """As if the camera had sent one segment in an hour long ago that nobody has folded yet."""
    fields = {f"{hour}:segments": 1, f"{hour}:flops": 5, f"{hour}:bytes": 7}
    await store._redis.hset(usage_key(camera), mapping=fields)


async def test_an_accepted_segment_is_counted_once_however_often_it_is_sent(
    store: StateStore, tenant: str
) -> None:
    camera = await new_camera(store, tenant)
    for seq in (0, 1, 1, 0, 2):
        await accept(store, camera, seq)
    found = await report(store, tenant)
    assert (found.segments, found.flops, found.bytes) == (3, 3 * 10**12, 3000)
    assert await report(store, tenant) == found
    (hour,) = found.hours
    assert (hour.segments, hour.start % 3600) == (3, 0)
    assert 0 <= time.time() - hour.start < 7200


async def test_cameras_are_told_apart_and_deleted_ones_stay_on_the_bill(
    store: StateStore, tenant: str
) -> None:
    one, other = await new_camera(store, tenant, "gate"), await new_camera(store, tenant, "yard")
    await accept(store, one, 0)
    for seq in range(4):
        await accept(store, other, seq)
    await store.delete(tenant, other)
    found = await report(store, tenant)
    assert {(c.name, c.segments) for c in found.cameras} == {("gate", 1), ("yard", 4)}
    assert found.price == sum(c.price for c in found.cameras) == 8
    assert await store._redis.exists(usage_key(other)) == 0


async def test_another_tenants_segments_are_not_on_the_bill(store: StateStore, tenant: str) -> None:
    await accept(store, await new_camera(store, f"{tenant}-2"), 0)
    assert (await report(store, tenant)).segments == 0


async def test_hours_that_are_over_ask_to_be_folded_and_fall_into_their_own_month(
    store: StateStore, tenant: str
) -> None:
    camera = await new_camera(store, tenant)
    await put_past_hour(store, camera, 490_000)  # 2025-11-24 16:00
    assert await accept(store, camera, 0)
    assert not await accept(store, camera, 1)
    then = await report(store, tenant, "2025-11")
    assert [(h.start, h.segments, h.flops, h.bytes) for h in then.hours] == [(490_000 * 3600, 1, 5, 7)]
    assert (await report(store, tenant)).segments == 2


@pytest.mark.parametrize("survives", ["nothing", "the ledger's part"])
async def test_a_crash_while_folding_counts_nothing_twice(
    store: StateStore, tenant: str, survives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = await new_camera(store, tenant)
    await accept(store, camera, 0)

    async def crash(**_: object) -> None:
        raise RuntimeError("killed")

    step = "_fold" if survives == "nothing" else "_settle"
    with monkeypatch.context() as broken:
        broken.setattr(store.usage, step, crash)
        with pytest.raises(RuntimeError):
            await store.usage.fold(tenant, camera)
    await accept(store, camera, 1)
    assert (await report(store, tenant)).segments == 2


@given(plan=st.lists(st.sampled_from(["commit", "fold", "fold twice at once"]), min_size=1, max_size=12))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folding_at_any_time_loses_nothing(server: EmbeddedServer, plan: list[str]) -> None:
    async def run() -> None:
        store, tenant, seq = StateStore(server.url, answers_kept=8, lease_s=1), uuid.uuid4().hex, 0
        camera = await new_camera(store, tenant)
        for step in plan:
            if step == "commit":
                await accept(store, camera, seq, flops=seq + 1, size=2 * seq + 1)
                seq += 1
            elif step == "fold":
                await store.usage.fold(tenant, camera)
            else:
                await asyncio.gather(*(store.usage.fold(tenant, camera) for _ in range(2)))
        found = await report(store, tenant)
        expected = Amounts(seq, sum(range(seq + 1)), sum(2 * i + 1 for i in range(seq)))
        assert Amounts(found.segments, found.flops, found.bytes) == expected
        await store.close()

    asyncio.run(run())


def test_a_camera_month_is_priced_to_the_hundredth() -> None:
    assert RATES.price(0, 0, 0) == 0
    assert RATES.price(1, 0, 0) == Decimal("4.00")
    month = RATES.price(segments=2_592_000, flops=3 * 10**17, size=200 * 10**9)
    assert month == Decimal("4") + Decimal("5.184").quantize(Decimal("0.01")) + 150 + 50


def test_the_rate_card_that_ships_is_read_exactly(tmp_path: Path) -> None:
    text = Settings().rates_file.read_text(encoding="utf-8")
    assert load_rates(Settings().rates_file).petaflop == Decimal("0.10")
    (tmp_path / "rates.yaml").write_text(text.replace("gigabyte: 0.01", "gigabyte: -1"))
    with pytest.raises(ValidationError, match="gigabyte"):
        load_rates(tmp_path / "rates.yaml")


async def test_a_table_holds_what_the_report_holds_and_no_formulas(store: StateStore, tenant: str) -> None:
    camera = await new_camera(store, tenant, "+SUM 1")
    await accept(store, camera, 0)
    found = await report(store, tenant)
    rows = list(csv.DictReader(io.StringIO(found.csv())))
    assert [row["kind"] for row in rows] == ["hour", "camera", "total"]
    assert rows[1]["name"] == "'+SUM 1"
    assert {int(row["segments"]) for row in rows} == {1}
    assert Decimal(rows[2]["price"]) == found.price


def test_the_command_prints_json_and_csv(server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENANCE_REDIS_URL", server.url)
    run = CliRunner().invoke
    shown = json.loads(run(app, ["usage", "nobody", "--month", "2026-01"]).stdout)
    assert (shown["tenant"], shown["month"], shown["segments"], shown["hours"]) == (
        "nobody",
        "2026-01",
        0,
        [],
    )
    assert run(app, ["usage", "nobody", "--csv"]).stdout.startswith("kind,start,")
    assert run(app, ["usage", "nobody", "--month", "2026-13"]).exit_code == 2
