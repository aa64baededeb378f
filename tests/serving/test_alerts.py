"""Alerts with a real database and a real receiver: told once, signed, tried again, never lost or doubled."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from clients.administration import LimitsPatch, NewKey
from clients.alerts import AlertEvent, NewWebhook, verified
from clients.protocol import Registration
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.recorded import promise_telemetry
from serving.admin.administrator import Administrator
from serving.alerts.decision import AlertOptions
from serving.alerts.delivery import Courier
from serving.alerts.watch import Watch
from serving.options import load_options
from serving.problems import Invalid, NotFound
from serving.promise import AuditOptions
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.http_receiver import Receiver
from tests.serving.test_state import segment

SILENT_S = 3.0  # longer than a busy machine stands still
LOCAL = AlertOptions(sweep_s=0.2, backoff_s=0.05, backoff_most_s=0.1, attempts=4, private_networks=True)
OPTIONS = load_options(Settings().serving_file).model_copy(update={"alerts": LOCAL})
AUDITS = AuditOptions(share=1.0)


class Webhook(Receiver):
    """A webhook's other end: answers with `statuses` in turn, then 204; keeps what it got."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = f"{self.origin}/hook"

    def received(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, body))
        request.send_response(self.statuses.pop(0) if self.statuses else 204)
        request.send_header("Location", "http://127.0.0.1:9/elsewhere")
        request.end_headers()

    def events(self) -> list[AlertEvent]:
        return [AlertEvent.model_validate_json(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with Webhook() as receiver:
        yield receiver


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1)
    await store._redis.flushdb()
    yield store
    await store.close()


@pytest.fixture
def administrator(store: StateStore) -> Administrator:
    return Administrator(store, OPTIONS, load_rates(Settings().rates_file), "offline:tester")


@pytest.fixture
async def tenant(administrator: Administrator) -> str:
    name = f"t{uuid.uuid4().hex}"
    await administrator.create(NewKey(tenant=name))
    await administrator.limits(name, LimitsPatch(silent_after_s=SILENT_S))
    return name


def watch(store: StateStore, options: AlertOptions = LOCAL) -> Watch:
    return Watch(store, OPTIONS.limits, AUDITS, options, promise_telemetry(store))


async def active_camera(store: StateStore, tenant: str, name: str = "gate") -> str:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name=name), 10)
    await send(store, camera, 0)
    return camera


async def send(store: StateStore, camera: str, seq: int, **changes: Any) -> None:
    await store.begin(camera, seq)
    assert (await store.commit(camera, segment(seq, **changes))).verdict == "committed"


async def sweep_until(looker: Watch, done: Any, patience_s: float = 60.0) -> None:
    ends = time.monotonic() + patience_s
    while not await done():
        assert time.monotonic() < ends, "it did not come to this in time"
        await looker.sweep()
        await looker.settled()
        await asyncio.sleep(0.05)


async def test_a_camera_that_falls_silent_is_told_once_and_its_return_once(
    store: StateStore, administrator: Administrator, tenant: str, receiver: Webhook
) -> None:
    await administrator.set_webhook(tenant, NewWebhook(url=receiver.url, secret="s" * 16))
    camera, looker = await active_camera(store, tenant), watch(store)
    await store.register(tenant, "never-active", Registration(name="new"), 10)

    async def opened() -> bool:
        return bool((await store.alerts.page(tenant)).open)

    async def closed() -> bool:
        return not await opened()

    await sweep_until(looker, opened)
    for _ in range(3):
        await looker.sweep()
    await looker.settled()
    (alert,) = (await store.alerts.page(tenant)).open
    assert (alert.kind, alert.camera, alert.name, alert.closed_at) == ("silent", camera, "gate", None)
    await send(store, camera, 1)
    await sweep_until(looker, closed)
    await looker.sweep()
    await looker.settled()
    (ended,) = (await store.alerts.page(tenant)).recent
    assert ended.id == alert.id
    assert ended.closed_at is not None
    assert ended.closed_at > ended.opened_at
    events = receiver.events()
    assert [event.event for event in events] == ["alert.opened", "alert.closed"]
    assert {event.alert.id for event in events} == {alert.id}
    assert {event.tenant for event in events} == {tenant}


async def test_a_receiver_that_fails_twice_gets_the_same_delivery_again_signed(
    store: StateStore, administrator: Administrator, tenant: str, receiver: Webhook
) -> None:
    receiver.statuses = [500, 302]  # a redirection is not followed: it may lead anywhere
    issued = await administrator.set_webhook(tenant, NewWebhook(url=receiver.url))
    await active_camera(store, tenant)

    async def answered() -> bool:
        info = await administrator.webhook(tenant)
        return info.delivered_at is not None

    await sweep_until(watch(store), answered)
    assert len(receiver.got) == 3
    assert len({body for _, body in receiver.got}) == 1
    for headers, body in receiver.got:
        assert headers["content-type"] == "application/json"
        assert headers["penance-delivery"] == json.loads(body)["id"]
        signature = headers["penance-signature"]
        assert verified(issued.secret, body, signature, time.time())
        assert not verified(issued.secret, body + b" ", signature, time.time())
        assert not verified("x" * 16, body, signature, time.time())
        assert not verified(issued.secret, body, signature, time.time() + 301)
        at, digest = (part.partition("=")[2] for part in signature.split(","))
        expected = hmac.new(issued.secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
        assert digest == expected.hexdigest()
    info = await administrator.webhook(tenant)
    assert (info.waiting, info.last_error) == (0, None)


async def test_a_delivery_is_given_up_after_so_many_attempts(
    store: StateStore, administrator: Administrator, tenant: str, receiver: Webhook
) -> None:
    receiver.statuses = [503] * 100
    await administrator.set_webhook(tenant, NewWebhook(url=receiver.url))
    await active_camera(store, tenant)

    async def given_up() -> bool:
        info = await administrator.webhook(tenant)
        return info.last_error is not None and info.waiting == 0

    await sweep_until(watch(store), given_up)
    assert len(receiver.got) == LOCAL.attempts
    assert (await administrator.webhook(tenant)).last_error == "answered 503"


async def test_who_dies_with_a_delivery_in_hand_neither_loses_nor_doubles_it(
    store: StateStore, administrator: Administrator, tenant: str, receiver: Webhook
) -> None:
    await administrator.set_webhook(tenant, NewWebhook(url=receiver.url))
    await active_camera(store, tenant)

    async def opened() -> bool:
        return bool((await store.alerts.page(tenant)).open)

    unable = watch(
        store, LOCAL.model_copy(update={"private_networks": False, "backoff_s": 0.001, "attempts": 50})
    )
    await sweep_until(unable, opened)  # its attempts fail: to it, this receiver is out of bounds
    assert receiver.got == []
    while (held := await store.alerts.claim(tenant, 3.0)) is None:
        await asyncio.sleep(0.01)
    assert await store.alerts.claim(tenant, 3.0) is None  # claimed: nobody else sends it meanwhile
    courier = Courier(store.alerts, LOCAL)
    await courier.deliver_due(tenant)
    assert receiver.got == []
    await asyncio.sleep(3.2)  # who held it is gone
    await asyncio.gather(courier.deliver_due(tenant), Courier(store.alerts, LOCAL).deliver_due(tenant))
    assert [event.id for event in receiver.events()] == [held.id]


async def test_only_one_replica_sweeps_and_another_follows_when_it_is_gone(store: StateStore) -> None:
    first, second = watch(store), watch(store)
    assert await first.sweep()
    assert not await second.sweep()
    assert await first.sweep()
    await asyncio.sleep(3 * LOCAL.sweep_s + 0.1)
    assert await second.sweep()
    assert not await first.sweep()


async def test_two_who_sweep_at_once_open_one_alert(
    store: StateStore, tenant: str, administrator: Administrator, receiver: Webhook
) -> None:
    await administrator.set_webhook(tenant, NewWebhook(url=receiver.url))
    await active_camera(store, tenant)
    now = time.time() + 10 * SILENT_S
    lookers = [watch(store) for _ in range(8)]
    await asyncio.gather(*(looker.look(tenant, now, 0.0) for looker in lookers))
    await asyncio.gather(*(looker.settled() for looker in lookers))
    assert len((await store.alerts.page(tenant)).open) == 1
    assert len(receiver.got) == 1


async def test_a_broken_promise_is_told_for_the_camera_and_the_tenant(
    store: StateStore, tenant: str, administrator: Administrator
) -> None:
    await administrator.limits(tenant, LimitsPatch(failure_rate=0.2, silent_after_s=3600))
    camera = await active_camera(store, tenant)
    for seq in range(1, 11):
        await send(store, camera, seq, audit_share=1.0, audit_map="0 0.5\n{}")
        await store.audits.settle(camera, seq, 0.1)
    await watch(store).sweep()
    held = (await store.alerts.page(tenant)).open
    assert {(alert.kind, alert.camera) for alert in held} == {("promise", camera), ("promise", None)}
    assert "20 % are promised" in held[0].detail
    await store.delete(tenant, camera)
    await asyncio.sleep(3 * LOCAL.sweep_s + 0.1)
    await watch(store).sweep()
    page = await store.alerts.page(tenant)
    assert page.open == ()
    assert len(page.recent) == 2


async def test_without_a_webhook_alerts_are_listed_and_nothing_waits(
    store: StateStore, tenant: str, administrator: Administrator
) -> None:
    await active_camera(store, tenant)
    await watch(store).look(tenant, time.time() + 10 * SILENT_S, 0.0)
    assert len((await store.alerts.page(tenant)).open) == 1
    assert not await store.alerts.due(tenant)
    with pytest.raises(NotFound):
        await administrator.webhook(tenant)
    with pytest.raises(NotFound):
        await administrator.clear_webhook(tenant)


async def test_a_webhooks_secret_is_shown_once_and_its_acts_are_written_down(
    store: StateStore, tenant: str, administrator: Administrator, receiver: Webhook
) -> None:
    issued = await administrator.set_webhook(tenant, NewWebhook(url=receiver.url))
    assert issued.secret not in (await administrator.webhook(tenant)).model_dump_json()
    await administrator.clear_webhook(tenant)
    with pytest.raises(NotFound):
        await administrator.webhook(tenant)
    acts = [entry.act for entry in (await administrator.audit(tenant, "", 10)).entries]
    assert acts == ["webhook.set", "webhook.clear"]


async def test_an_unset_secret_or_url_is_refused(administrator: Administrator, tenant: str) -> None:
    with pytest.raises(Invalid, match="https"):
        await administrator.set_webhook(tenant, NewWebhook(url="http://example.com/hook"))
    with pytest.raises(ValueError, match="secret"):
        NewWebhook(url="https://example.com", secret="short")


async def test_every_tenant_is_looked_at(store: StateStore, administrator: Administrator) -> None:
    names = ["a", "a-b", "a0", "b", "0"]
    for name in [*names, *names]:
        await administrator.create(NewKey(tenant=name))
    await administrator.create(NewKey(scope="operator"))
    assert [name async for name in store.keys.tenants()] == sorted(names, key=lambda name: f"{name}/")
