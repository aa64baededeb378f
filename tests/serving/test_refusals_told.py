"""Refused segments are counted, whatever refused them and whoever sent them; request ids are bounded."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from clients.administration import NewKey
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.interface import services_at
from load_tests.recorded import Recorded, segment_telemetry
from serving.admin.administrator import Administrator
from serving.ingress.api import build_api
from serving.ingress.services import Services
from serving.options import load_options
from serving.state.embedded import EmbeddedServer

BUNDLE = {"configuration": 89}
VIDEO = {"Content-Type": "video/mp4"}


@pytest.fixture
def told() -> Recorded:
    return Recorded()


@pytest.fixture
async def services(server: EmbeddedServer, told: Recorded) -> AsyncIterator[Services]:
    made = services_at(server.url)
    yield replace(made, telemetry=segment_telemetry(made.store, told))
    await made.store.close()


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async def source() -> Services:
        return services

    transport = httpx.ASGITransport(build_api(source))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


@pytest.fixture
async def key(services: Services) -> dict[str, str]:
    own = Settings()
    administrator = Administrator(
        services.store, load_options(own.serving_file), load_rates(own.rates_file), "offline:tester"
    )
    issued = await administrator.create(NewKey(tenant="acme"))
    return {"Authorization": f"Bearer {issued.key}"}


async def test_each_refusal_is_told_with_its_reason_and_tenant(
    http: httpx.AsyncClient, services: Services, key: dict[str, str], told: Recorded
) -> None:
    body = {"name": uuid.uuid4().hex}
    camera = (await http.post("/v1/clients", json=body, headers=key)).raise_for_status().json()["id"]
    path, query = f"/v1/clients/{camera}/segments/0", BUNDLE | {"bundle": services.bundles.in_force.id}
    await http.put(path, params=query, content=b"x", headers=VIDEO)
    await http.put(path, params=query | {"bundle": "old"}, content=b"x", headers=VIDEO | key)
    await http.put(path, params=query, content=b"x", headers=key | {"Content-Type": "text/plain"})
    await http.put(path, params=query | {"configuration": -1}, content=b"x", headers=VIDEO | key)
    await http.put(path.replace(camera, "another"), params=query, content=b"x", headers=VIDEO | key)
    await http.patch(f"/v1/clients/{camera}", json={"target_miou": 2}, headers=key)  # no segment
    found = {tuple(value for _, value in labels): n for (_, labels), n in told.sums.items()}
    assert found == {
        ("key", "none"): 1,
        ("bundle", "acme"): 1,
        ("media-type", "acme"): 1,
        ("invalid", "acme"): 1,
        ("not-found", "acme"): 1,
    }


@pytest.mark.parametrize("hostile", ["", "a" * 129, "a b", 'a","level":"x', "a\tb"])
async def test_a_request_id_that_logs_should_not_hold_is_refused(
    http: httpx.AsyncClient, hostile: str
) -> None:
    answer = await http.get("/healthz", headers={"X-Request-ID": hostile})
    assert answer.status_code == 422
    assert "X-Request-ID must match" in answer.json()["detail"]


@pytest.mark.parametrize("usual", [str(uuid.uuid4()), "a" * 128, "Root=1-67891233-abcdef012345678912345678"])
async def test_usual_request_ids_are_taken(http: httpx.AsyncClient, usual: str) -> None:
    assert (await http.get("/healthz", headers={"X-Request-ID": usual})).status_code == 200
