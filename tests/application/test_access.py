"""Who may do what: every endpoint with every kind of key, against a real application."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

import httpx
import pytest
from typer.testing import CliRunner

from clients.administration import NewKey
from clients.rollout import ARCHIVE_TYPE
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.application import RunningApplication
from serving.admin.administrator import Administrator
from serving.admin.cli import app
from serving.options import load_options
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.application.conftest import SEGMENT, SMALL, PlainCamera

CREDENTIALS = (
    "none",
    "wrong",
    "revoked",
    "stranger",
    "other camera",
    "camera",
    "read-only",
    "tenant",
    "operator",
)
NOBODY = dict.fromkeys(("none", "wrong", "revoked"), 401)


def rights(
    *, stranger: int, other: int, camera: int, reader: int, tenant: int, operator: int
) -> dict[str, int]:
    """The status by credential; whoever holds no key in force is always 401."""
    return NOBODY | {
        "stranger": stranger,
        "other camera": other,
        "camera": camera,
        "read-only": reader,
        "tenant": tenant,
        "operator": operator,
    }


OPERATORS_ONLY = {"stranger": 403, "other": 403, "camera": 403, "reader": 403, "tenant": 403}
MATRIX: dict[tuple[str, str], dict[str, int]] = {
    ("GET", "/v1/variants"): rights(
        stranger=200, other=200, camera=200, reader=200, tenant=200, operator=200
    ),
    ("GET", "/v1/bundle"): rights(stranger=200, other=200, camera=200, reader=200, tenant=200, operator=200),
    ("GET", "/v1/bundle/files/{name}"): rights(
        stranger=200, other=200, camera=200, reader=200, tenant=200, operator=200
    ),
    ("POST", "/v1/clients"): rights(
        stranger=201, other=404, camera=404, reader=403, tenant=201, operator=404
    ),
    ("GET", "/v1/clients"): rights(stranger=200, other=403, camera=403, reader=200, tenant=200, operator=404),
    ("GET", "/v1/clients/{camera}"): rights(
        stranger=404, other=404, camera=200, reader=200, tenant=200, operator=404
    ),
    ("PATCH", "/v1/clients/{camera}"): rights(
        stranger=404, other=404, camera=404, reader=403, tenant=200, operator=404
    ),
    ("PUT", "/v1/clients/{camera}/segments/{seq}"): rights(
        stranger=404, other=404, camera=200, reader=403, tenant=200, operator=404
    ),
    ("GET", "/v1/clients/{camera}/results"): rights(
        stranger=404, other=404, camera=200, reader=200, tenant=200, operator=404
    ),
    ("GET", "/v1/live"): rights(stranger=200, other=403, camera=403, reader=200, tenant=200, operator=404),
    ("GET", "/v1/results"): rights(stranger=200, other=403, camera=403, reader=200, tenant=200, operator=404),
    ("GET", "/v1/tenants/{tenant}/retention"): rights(
        stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200
    ),
    ("PATCH", "/v1/tenants/{tenant}/retention"): rights(
        stranger=404, other=403, camera=403, reader=403, tenant=200, operator=200
    ),
    ("DELETE", "/v1/clients/{camera}"): rights(
        stranger=404, other=404, camera=404, reader=403, tenant=204, operator=404
    ),
    ("POST", "/v1/keys"): rights(**OPERATORS_ONLY, operator=201),
    ("GET", "/v1/keys"): rights(**OPERATORS_ONLY, operator=200),
    ("POST", "/v1/keys/{key_id}/rotate"): rights(**OPERATORS_ONLY, operator=201),
    ("DELETE", "/v1/keys/{key_id}"): rights(**OPERATORS_ONLY, operator=204),
    ("GET", "/v1/tenants/{tenant}/limits"): rights(
        stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200
    ),
    ("PATCH", "/v1/tenants/{tenant}/limits"): rights(**OPERATORS_ONLY, operator=200),
    ("GET", "/v1/usage"): rights(stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200),
    ("GET", "/v1/transitions"): rights(
        stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200
    ),
    ("GET", "/v1/promise"): rights(stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200),
    ("GET", "/v1/clients/{camera}/promise"): rights(
        stranger=404, other=404, camera=200, reader=200, tenant=200, operator=404
    ),
    # 409: no audit of this segment is asked for
    ("PUT", "/v1/clients/{camera}/segments/{seq}/audit"): rights(
        stranger=404, other=404, camera=409, reader=403, tenant=409, operator=404
    ),
    ("GET", "/v1/alerts"): rights(stranger=404, other=403, camera=403, reader=200, tenant=200, operator=200),
    ("PUT", "/v1/tenants/{tenant}/webhook"): rights(
        stranger=404, other=403, camera=403, reader=403, tenant=200, operator=200
    ),
    ("GET", "/v1/tenants/{tenant}/webhook"): rights(
        stranger=404, other=403, camera=403, reader=403, tenant=200, operator=200
    ),
    ("DELETE", "/v1/tenants/{tenant}/webhook"): rights(
        stranger=404, other=403, camera=403, reader=403, tenant=204, operator=204
    ),
    ("GET", "/v1/audit"): rights(**OPERATORS_ONLY, operator=200),
    ("GET", "/v1/bundles"): rights(**OPERATORS_ONLY, operator=200),
    # 404 and 422: an empty archive, a bundle that the store does not hold, and no step to undo
    ("POST", "/v1/bundles"): rights(**OPERATORS_ONLY, operator=422),
    ("POST", "/v1/bundles/{bundle}/activate"): rights(**OPERATORS_ONLY, operator=404),
    ("POST", "/v1/bundles/{bundle}/canary"): rights(**OPERATORS_ONLY, operator=404),
    ("POST", "/v1/bundles/rollback"): rights(**OPERATORS_ONLY, operator=422),
    ("DELETE", "/v1/bundles/{bundle}"): rights(**OPERATORS_ONLY, operator=404),
}
ABSENT = "absent-0123456789ab"
OPEN = {("GET", "/healthz"), ("GET", "/readyz")}


@dataclass
class Parties:
    """One key of every kind, and the tenant whose things are reached for."""

    keys: dict[str, str | None]
    tenant: str

    def headers(self, credential: str) -> dict[str, str]:
        key = self.keys[credential]
        return {} if key is None else {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def parties(application: RunningApplication) -> Parties:
    tenant, stranger = f"a{uuid.uuid4().hex}", f"b{uuid.uuid4().hex}"

    async def issue() -> dict[str, str | None]:
        store = StateStore(EmbeddedServer(application.state_directory).url, answers_kept=8, lease_s=1)
        offline = Administrator(
            store, load_options(Settings().serving_file), load_rates(Settings().rates_file), "offline:tester"
        )
        try:
            revoked = await offline.create(NewKey(tenant=tenant))
            await offline.revoke(revoked.id)
            return {
                "none": None,
                "wrong": f"{'x' * 12}.{'y' * 43}",
                "revoked": revoked.key,
                "stranger": (await offline.create(NewKey(tenant=stranger))).key,
                "read-only": (await offline.create(NewKey(tenant=tenant, scope="read-only"))).key,
                "tenant": (await offline.create(NewKey(tenant=tenant))).key,
                "operator": (await offline.create(NewKey(scope="operator"))).key,
            }
        finally:
            await store.close()

    return Parties(asyncio.run(issue()), tenant)


def register(http: httpx.Client, parties: Parties) -> PlainCamera:
    body = {"name": uuid.uuid4().hex, "segment": SMALL}
    found = http.post("/v1/clients", json=body, headers=parties.headers("tenant")).raise_for_status().json()
    return PlainCamera(http, found["id"], found["token"], found["bundle"], 0)


def attempt(
    http: httpx.Client, parties: Parties, credential: str, method: str, route: str, camera: PlainCamera
) -> httpx.Response:
    """One well-formed request to a route, which only its credential can make fail."""
    key_id = ""
    if "{key_id}" in route:
        body = NewKey(tenant=parties.tenant).model_dump()
        key_id = http.post("/v1/keys", json=body, headers=parties.headers("operator")).json()["id"]
    path = route.format(
        camera=camera.id, seq=0, key_id=key_id, tenant=parties.tenant, name="policy.onnx", bundle=ABSENT
    )
    headers = parties.headers(credential)
    if (method, route) == ("POST", "/v1/bundles"):
        return http.post(path, content=b"", headers=headers | {"Content-Type": ARCHIVE_TYPE})
    if "/webhook" in route:
        own, body = parties.headers("tenant"), {"url": "https://hooks.example/penance"}
        http.put(path, json=body, headers=own).raise_for_status()
        return http.request(method, path, json=body if method == "PUT" else None, headers=headers)
    if method == "PUT":
        query = {"configuration": 89, "bundle": camera.bundle}
        return http.put(path, params=query, content=SEGMENT, headers=headers | {"Content-Type": "video/mp4"})
    bodies = {
        "/v1/clients": {"name": uuid.uuid4().hex, "segment": SMALL},
        "/v1/clients/{camera}": {"target_miou": 0.5},
        "/v1/keys": {"tenant": parties.tenant},
        "/v1/tenants/{tenant}/limits": {"cameras": 500},
        "/v1/tenants/{tenant}/retention": {"window_s": 30},
        "/v1/bundles/{bundle}/canary": {"share": 0.5},
    }
    if route.endswith("/results"):
        with http.stream("GET", path, headers=headers) as answer:  # goes on for ever
            return answer
    if route in ("/v1/usage", "/v1/promise", "/v1/alerts", "/v1/transitions"):
        return http.get(path, params={"tenant": parties.tenant}, headers=headers)
    body = bodies.get(route) if method in ("POST", "PATCH") else None
    return http.request(method, path, json=body, headers=headers)


def test_the_matrix_names_every_endpoint_and_every_kind_of_key(http: httpx.Client) -> None:
    described = {
        (method.upper(), path)
        for path, methods in http.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert described == set(MATRIX) | OPEN
    assert all(set(row) == set(CREDENTIALS) for row in MATRIX.values())


@pytest.mark.parametrize(("method", "route"), MATRIX)
def test_each_key_reaches_what_is_its_own_and_no_more(
    http: httpx.Client, parties: Parties, method: str, route: str
) -> None:
    found, other = {}, register(http, parties)
    for credential in CREDENTIALS:
        camera = register(http, parties)
        parties.keys |= {"camera": camera.token, "other camera": other.token}
        found[credential] = attempt(http, parties, credential, method, route, camera).status_code
    assert found == MATRIX[method, route]


def test_a_tenants_acts_on_its_cameras_are_written_down(http: httpx.Client, parties: Parties) -> None:
    camera, own = register(http, parties), parties.headers("tenant")
    http.patch(f"/v1/clients/{camera.id}", json={"target_miou": 0.7}, headers=own).raise_for_status()
    http.delete(f"/v1/clients/{camera.id}", headers=own).raise_for_status()
    query = {"tenant": parties.tenant, "limit": 500}
    log = http.get("/v1/audit", params=query, headers=parties.headers("operator")).json()["entries"]
    acts = [(entry["act"], entry["actor"]) for entry in log if entry["subject"] == camera.id]
    actor = str(parties.keys["tenant"]).partition(".")[0]
    assert acts == [("camera.register", actor), ("camera.patch", actor), ("camera.delete", actor)]


def test_a_tenant_lists_its_cameras_and_changes_a_target_by_name(
    application: RunningApplication, http: httpx.Client, parties: Parties
) -> None:
    own = parties.headers("tenant")
    name = uuid.uuid4().hex
    camera = http.post("/v1/clients", json={"name": name, "segment": SMALL}, headers=own).json()
    names, after = [], ""
    while after is not None:
        page = http.get("/v1/clients", params={"after": after, "limit": 3}, headers=own).json()
        names += [found["name"] for found in page["cameras"]]
        after = page["next"]
    assert names == sorted(set(names))
    assert name in names
    assert http.get("/v1/clients", headers=parties.headers("stranger")).json()["next"] is None
    remote = ["--server", application.url, "--key", str(parties.keys["tenant"])]
    done = CliRunner().invoke(app, [*remote, "target", parties.tenant, name, "0.8"])
    assert done.exit_code == 0, done.output
    assert http.get(f"/v1/clients/{camera['id']}", headers=own).json()["target_miou"] == 0.8
    gone = CliRunner().invoke(app, [*remote, "target", parties.tenant, "nobody", "0.8"])
    assert gone.exit_code == 1


def test_the_command_works_over_http(
    application: RunningApplication, http: httpx.Client, parties: Parties
) -> None:
    remote = ["--server", application.url, "--key", str(parties.keys["operator"])]
    run = CliRunner().invoke
    key = run(app, [*remote, "create", parties.tenant, "--scope", "read-only"]).stdout.strip()
    assert http.get("/v1/variants", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    new = run(app, [*remote, "rotate", key.partition(".")[0]]).stdout.strip()
    assert run(app, [*remote, "revoke", new.partition(".")[0]]).exit_code == 0
    assert http.get("/v1/variants", headers={"Authorization": f"Bearer {new}"}).status_code == 401
    refused = run(app, ["--server", application.url, "--key", key, "list"])
    assert refused.exit_code == 1
