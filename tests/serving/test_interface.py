"""The interface as its own description has it, over real HTTP: whatever follows the description, under any
key or none, nothing makes a server error, and nothing but what is public opens without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings

from clients.administration import NewKey
from clients.protocol import SEGMENT_TYPE
from clients.rollout import ARCHIVE_TYPE
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.interface import served
from serving.admin.administrator import Administrator
from serving.ingress.api import build_api
from serving.ingress.services import Services
from serving.options import load_options
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore

pytestmark = pytest.mark.slow

EXAMPLES = 15
PUBLIC = ("/healthz", "/readyz")
NO_KEYS = {"none": None, "unknown": "AAAAAAAAAAAAAAAA.unknown", "malformed": "\u00e9"}


@pytest.fixture(scope="module")
def url(server: EmbeddedServer) -> Iterator[str]:
    with served(server.url) as address:
        yield address


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


@schemathesis.serializer(SEGMENT_TYPE, ARCHIVE_TYPE)
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


def sent(case: schemathesis.Case, url: str, headers: dict[str, str]) -> Any:
    """The answer to an example; of one that goes on for ever, its beginning."""
    if not case.path.endswith("/results"):
        return case.call(base_url=url, headers=headers)
    arguments = case.as_transport_kwargs(base_url=url, headers=headers)
    with requests.request(**arguments, stream=True, timeout=30) as answer:
        if answer.status_code != httpx.codes.OK:
            answer.content  # noqa: B018 - read before the connection is closed
    return answer


@schema.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
def test_nothing_that_follows_the_description_makes_a_server_error_or_opens_without_a_key(
    case: schemathesis.Case, url: str, keys: dict[str, str]
) -> None:
    if case.path_parameters and "camera" in case.path_parameters:
        case.path_parameters["camera"] = registered(url, keys["tenant"])
    for name, key in (NO_KEYS | keys).items():
        headers = {} if key is None else {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
        answer = sent(case, url, headers)
        # no variant is there, and only this one path says so
        unready = case.path == "/readyz" and answer.json().get("type", "").endswith(":starting")
        assert answer.status_code < 500 or unready, (name, answer.text)
        if name in NO_KEYS and case.path not in PUBLIC:
            assert answer.status_code >= 400, (name, answer.text)
