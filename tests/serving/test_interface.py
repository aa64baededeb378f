"""The interface as its own description has it: whatever follows the description, nothing makes a 500."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from clients.administration import NewKey
from configs.bundle import Bundle
from configs.rates import load_rates
from configs.settings import Settings
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

pytestmark = pytest.mark.slow

EXAMPLES = 25


def services_at(url: str) -> Services:
    """What an ingress replica has, without deployments behind it: no example gets as far as those."""
    own, bundle = Settings(), Bundle.load()
    options, store = load_options(own.serving_file), StateStore(url, own.answers_kept, own.lease_s)
    quotas, dispatcher = Quotas(store.tenants, options.limits), Dispatcher(options.admission)
    inference = Inference((), None)  # type: ignore[arg-type]
    auditor = Auditor(options.audits, bundle, store.audits, inference, dispatcher)
    segments = SegmentService(bundle, own, store, quotas, inference, dispatcher, auditor)
    rates = load_rates(own.rates_file)
    return Services(bundle, own, options, rates, store, Keyring(store), quotas, segments, auditor)


def source(url: str) -> Callable[[], Awaitable[Services]]:
    """Services of the event loop that asks: the test client makes a new one for each request."""

    async def services() -> Services:
        return services_at(url)

    return services


@pytest.fixture(scope="module")
def api(server: EmbeddedServer) -> FastAPI:
    return build_api(source(server.url))


@pytest.fixture(scope="module")
def keys(server: EmbeddedServer) -> dict[str, str]:
    async def make() -> dict[str, str]:
        store, own = StateStore(server.url, 8, 1), Settings()
        options, rates = load_options(own.serving_file), load_rates(own.rates_file)
        administrator = Administrator(store, options, rates, "offline:tester")
        tenant = await administrator.create(NewKey(tenant="acme"))
        operator = await administrator.create(NewKey(scope="operator"))
        await store.close()
        return {"tenant": tenant.key, "operator": operator.key}

    return asyncio.run(make())


@pytest.fixture(scope="module")
def description(api: FastAPI) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", api)


schema = schemathesis.pytest.from_fixture("description")


@schema.parametrize()
@pytest.mark.parametrize("scope", ["tenant", "operator"])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_that_follows_the_description_makes_a_server_error(
    case: schemathesis.Case, keys: dict[str, str], scope: str
) -> None:
    answer = case.call(headers={"Authorization": f"Bearer {keys[scope]}"})
    assert answer.status_code < 500, answer.text
