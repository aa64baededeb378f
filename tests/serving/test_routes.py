"""The access matrix without an application behind it: every route that needs no inference, with every key."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import httpx
import pytest
from fastapi.testclient import TestClient

from clients.administration import NewKey
from configs.rates import load_rates
from configs.settings import Settings
from serving.admin.administrator import Administrator
from serving.ingress.api import build_api
from serving.options import load_options
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.application.conftest import SMALL
from tests.application.test_access import CREDENTIALS, MATRIX, OPEN, Parties, attempt, register
from tests.serving.test_interface import source

pytestmark = pytest.mark.slow  # every act waits for the disk

WITHOUT_INFERENCE = [row for row in MATRIX if "/segments/" not in row[1]]


@pytest.fixture(scope="module")
def http(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with TestClient(build_api(source(server.url))) as client:
        yield client


@pytest.fixture(scope="module")
def parties(server: EmbeddedServer) -> Parties:
    tenant, stranger = f"a{uuid.uuid4().hex}", f"b{uuid.uuid4().hex}"

    async def issue() -> dict[str, str | None]:
        store, own = StateStore(server.url, answers_kept=8, lease_s=1), Settings()
        rates = load_rates(own.rates_file)
        administrator = Administrator(store, load_options(own.serving_file), rates, "offline:tester")
        revoked = await administrator.create(NewKey(tenant=tenant))
        await administrator.revoke(revoked.id)
        keys = {
            "none": None,
            "wrong": f"{'x' * 12}.{'y' * 43}",
            "revoked": revoked.key,
            "stranger": (await administrator.create(NewKey(tenant=stranger))).key,
            "read-only": (await administrator.create(NewKey(tenant=tenant, scope="read-only"))).key,
            "tenant": (await administrator.create(NewKey(tenant=tenant))).key,
            "operator": (await administrator.create(NewKey(scope="operator"))).key,
        }
        await store.close()
        return keys

    return Parties(asyncio.run(issue()), tenant)


def test_the_matrix_names_every_endpoint(http: httpx.Client) -> None:
    described = {
        (method.upper(), path)
        for path, methods in http.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert described == set(MATRIX) | OPEN


@pytest.mark.parametrize(("method", "route"), WITHOUT_INFERENCE)
def test_each_key_reaches_what_is_its_own_and_no_more(
    http: httpx.Client, parties: Parties, method: str, route: str
) -> None:
    found = {}
    for credential in CREDENTIALS:
        camera, other = register(http, parties), register(http, parties)
        parties.keys |= {"camera": camera.token, "other camera": other.token}
        found[credential] = attempt(http, parties, credential, method, route, camera).status_code
    assert found == MATRIX[method, route]


def test_a_tenant_lists_its_cameras_page_by_page_and_by_name(http: httpx.Client, parties: Parties) -> None:
    own = parties.headers("tenant")
    names = {uuid.uuid4().hex for _ in range(5)}
    for name in names:
        http.post("/v1/clients", json={"name": name, "segment": SMALL}, headers=own).raise_for_status()
    found, after = [], ""
    while after is not None:
        page = http.get("/v1/clients", params={"after": after, "limit": 2}, headers=own).json()
        found += [camera["name"] for camera in page["cameras"]]
        after = page["next"]
    assert found == sorted(set(found))
    assert names <= set(found)
    (one,) = http.get("/v1/clients", params={"name": found[0]}, headers=own).json()["cameras"]
    assert one["name"] == found[0]
    seen = {c["name"] for c in http.get("/v1/clients", headers=parties.headers("stranger")).json()["cameras"]}
    assert not seen & set(found)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"url": "http://hooks.example/"}, "https"),
        ({"url": "https://169.254.169.254/latest"}, "not a public address"),
        ({"url": "https://hooks.example/", "secret": "short"}, "secret"),
        ({"url": "https://hooks.example/" + "a" * 100_000}, "65536"),
    ],
)
def test_a_webhook_that_may_not_be_is_refused_with_the_reason(
    http: httpx.Client, parties: Parties, body: dict[str, str], words: str
) -> None:
    path = f"/v1/tenants/{parties.tenant}/webhook"
    refusal = http.put(path, json=body, headers=parties.headers("tenant"))
    assert refusal.status_code in (413, 422)
    assert words in refusal.json()["detail"]
