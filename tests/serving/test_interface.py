"""The interface as its own description has it, over real HTTP: whatever follows the description, under any
key or none, nothing makes a server error, and nothing but what is public opens without a key."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings

from clients.administration import NewKey
from clients.protocol import SEGMENT_TYPE
from configs.bundle import Bundle
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.application import free_port
from serving.admin.administrator import Administrator
from serving.ingress.api import build_api
from serving.ingress.audits import Auditor
from serving.ingress.dispatch import Dispatcher
from serving.ingress.inference import Inference
from serving.ingress.segments import SegmentService
from serving.ingress.services import Services
from serving.keys import Keyring
from serving.options import load_options
from serving.quota import Quotas
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.serving.recorded import segment_telemetry

pytestmark = pytest.mark.slow

EXAMPLES = 15
PUBLIC = ("/healthz", "/readyz")
NO_KEYS = {"none": None, "unknown": "AAAAAAAAAAAAAAAA.unknown", "malformed": "\u00e9"}


def services_at(url: str) -> Services:
    """What an ingress replica has, without deployments behind it: no example gets as far as those."""
    own, bundle = Settings(), Bundle.load()
    options, store = load_options(own.serving_file), StateStore(url, own.answers_kept, own.lease_s)
    quotas, dispatcher = Quotas(store.tenants, options.limits), Dispatcher(options.admission)
    inference = Inference((), None)  # type: ignore[arg-type]
    telemetry = segment_telemetry(store)
    auditor = Auditor(options.audits, bundle, store.audits, inference, dispatcher, telemetry)
    segments = SegmentService(bundle, own, store, quotas, inference, dispatcher, auditor, telemetry)
    rates = load_rates(own.rates_file)
    return Services(bundle, own, options, rates, store, Keyring(store), quotas, segments, auditor, telemetry)


@pytest.fixture(scope="module")
def url(server: EmbeddedServer) -> Iterator[str]:
    """Where the interface is served, by one event loop in a thread."""
    made: list[Services] = []

    async def services() -> Services:
        if not made:
            made.append(services_at(server.url))
        return made[0]

    port = free_port()
    serving = uvicorn.Server(uvicorn.Config(build_api(services), port=port, log_level="error"))
    thread = threading.Thread(target=serving.run)
    thread.start()
    while not serving.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    serving.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def keys(server: EmbeddedServer) -> dict[str, str]:
    """A key in force by scope."""

    async def make() -> dict[str, str]:
        store, own = StateStore(server.url, 8, 1), Settings()
        options, rates = load_options(own.serving_file), load_rates(own.rates_file)
        administrator = Administrator(store, options, rates, "offline:tester")
        wanted = [NewKey(tenant="acme"), NewKey(tenant="acme", scope="read-only"), NewKey(scope="operator")]
        issued = {new.scope: (await administrator.create(new)).key for new in wanted}
        await store.close()
        return issued

    return asyncio.run(make())


@schemathesis.serializer(SEGMENT_TYPE)
def as_it_is(_: schemathesis.SerializationContext, body: object) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode()


async def no_services() -> Services:
    raise AssertionError("describing the interface asks for no services")


schema = schemathesis.openapi.from_dict(build_api(no_services).openapi())


def registered(url: str, key: str) -> str:
    """Id of a camera that exists just now, whatever the requests before it deleted."""
    answer = httpx.post(
        f"{url}/v1/clients", json={"name": "gate"}, headers={"Authorization": f"Bearer {key}"}
    )
    return str(answer.raise_for_status().json()["id"])


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_nothing_that_follows_the_description_makes_a_server_error_or_opens_without_a_key(
    case: schemathesis.Case, url: str, keys: dict[str, str]
) -> None:
    if case.path_parameters and "camera" in case.path_parameters:
        case.path_parameters["camera"] = registered(url, keys["tenant"])
    for name, key in (NO_KEYS | keys).items():
        headers = {} if key is None else {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
        answer = case.call(base_url=url, headers=headers)
        assert answer.status_code < 500, (name, answer.text)
        if name in NO_KEYS and case.path not in PUBLIC:
            assert answer.status_code >= 400, (name, answer.text)
