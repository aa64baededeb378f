"""Administration against a real database: keys live and end, and every act is written down."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from clients.administration import LimitsPatch, NewKey
from clients.protocol import Registration
from configs.rates import load_rates
from configs.settings import Settings
from serving.admin.administrator import Administrator
from serving.admin.cli import app
from serving.keys import Keyring, Principal, key_fields, new_key
from serving.options import load_options
from serving.problems import Forbidden, Invalid, NotFound, QuotaExceeded, Unauthenticated
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore

MANY = 100  # cameras that a tenant may have
OPTIONS = load_options(Settings().serving_file)
RATES = load_rates(Settings().rates_file)


@pytest.fixture
def administrator(store: StateStore) -> Administrator:
    return Administrator(store, OPTIONS, RATES, "offline:tester")


async def speaks_for(store: StateStore, key: str) -> Principal:
    return await Keyring(store).authenticate(f"Bearer {key}")


@pytest.mark.parametrize("scope", ["tenant", "read-only", "operator"])
async def test_a_created_key_has_its_scope(
    store: StateStore, administrator: Administrator, tenant: str, scope: str
) -> None:
    owner = None if scope == "operator" else tenant
    issued = await administrator.create(NewKey.model_validate({"tenant": owner, "scope": scope}))
    principal = await speaks_for(store, issued.key)
    assert (principal.tenant, principal.scope, principal.key_id) == (owner or "", scope, issued.id)


async def test_a_rotated_key_ends_and_its_successor_is_good_for_the_same(
    store: StateStore, administrator: Administrator, tenant: str
) -> None:
    old = await administrator.create(NewKey(tenant=tenant, scope="read-only", label="wall display"))
    new = await administrator.rotate(old.id)
    assert (new.tenant, new.scope, new.label) == (tenant, "read-only", "wall display")
    assert (await speaks_for(store, new.key)).scope == "read-only"
    with pytest.raises(Unauthenticated):
        await speaks_for(store, old.key)
    with pytest.raises(NotFound):
        await administrator.rotate(old.id)


async def test_a_revoked_key_opens_nothing_and_stays_listed(
    store: StateStore, administrator: Administrator, tenant: str
) -> None:
    issued = await administrator.create(NewKey(tenant=tenant))
    await administrator.revoke(issued.id)
    with pytest.raises(Unauthenticated):
        await speaks_for(store, issued.key)
    (listed,) = (await administrator.list(tenant, "", 10)).keys
    assert listed.id == issued.id
    assert listed.revoked_at is not None
    with pytest.raises(NotFound):
        await administrator.revoke(issued.id)


async def test_a_key_kept_at_every_start_stays_revoked(
    store: StateStore, administrator: Administrator, tenant: str
) -> None:
    key, key_id, sha256 = new_key()
    fields = key_fields(Principal(tenant, "tenant"), sha256)
    await store.keys.keep(key_id, fields)
    assert (await speaks_for(store, key)).tenant == tenant
    await administrator.revoke(key_id)
    await store.keys.keep(key_id, fields)
    with pytest.raises(Unauthenticated):
        await speaks_for(store, key)


async def test_a_camera_token_is_revoked_but_not_rotated(
    store: StateStore, administrator: Administrator, tenant: str
) -> None:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), MANY)
    token = await Keyring(store).issue(Principal(tenant, "camera", camera))
    with pytest.raises(Invalid):
        await administrator.rotate(token.partition(".")[0])
    assert (await speaks_for(store, token)).camera == camera
    await administrator.revoke(token.partition(".")[0])
    with pytest.raises(Unauthenticated):
        await speaks_for(store, token)


async def test_pages_hold_each_key_of_the_tenant_once(administrator: Administrator, tenant: str) -> None:
    made = {(await administrator.create(NewKey(tenant=tenant))).id for _ in range(5)}
    await administrator.create(NewKey(tenant=f"{tenant}-2"))
    found, after = [], ""
    while True:
        page = await administrator.list(tenant, after, 2)
        found += [key.id for key in page.keys]
        if page.next is None:
            break
        after = page.next
    assert len(found) == len(made)
    assert set(found) == made


async def test_every_act_on_a_key_is_written_down_without_its_secret(
    administrator: Administrator, tenant: str
) -> None:
    before = (await administrator.audit(None, "", 500)).entries
    first = await administrator.create(NewKey(tenant=tenant))
    second = await administrator.rotate(first.id)
    await administrator.revoke(second.id)
    entries = (await administrator.audit(None, before[-1].id if before else "", 500)).entries
    assert [(e.act, e.subject, e.detail) for e in entries] == [
        ("key.create", first.id, "tenant"),
        ("key.rotate", first.id, second.id),
        ("key.revoke", second.id, ""),
    ]
    assert {(e.actor, e.tenant) for e in entries} == {("offline:tester", tenant)}
    assert all(a.at <= b.at for a, b in pairwise(entries))
    assert not any(key.key.partition(".")[2] in str(entries) for key in (first, second))


async def test_what_ended_nothing_is_not_written_down(administrator: Administrator, tenant: str) -> None:
    await administrator.create(NewKey(tenant=tenant))
    last = (await administrator.audit(None, "", 500)).entries[-1].id
    with pytest.raises(NotFound):
        await administrator.revoke("x" * 12)
    assert (await administrator.audit(None, last, 500)).entries == ()


async def test_limits_are_set_one_by_one_and_written_down(administrator: Administrator, tenant: str) -> None:
    assert await administrator.limits(tenant, LimitsPatch()) == OPTIONS.limits
    await administrator.limits(tenant, LimitsPatch(cameras=3, gflops_per_s=12.5))
    await administrator.limits(tenant, LimitsPatch(segments_per_s=2))
    changed = await administrator.limits(tenant, LimitsPatch(cameras=None))
    assert changed == OPTIONS.limits.model_copy(update={"gflops_per_s": 12.5, "segments_per_s": 2.0})
    entries = (await administrator.audit(None, "", 500)).entries
    mine = [entry for entry in entries if entry.tenant == tenant]
    assert [(entry.act, entry.subject) for entry in mine] == [("tenant.limits", tenant)] * 3
    assert mine[-1].detail == '{"cameras": null}'


async def test_a_tenant_has_no_more_cameras_than_it_may(store: StateStore, tenant: str) -> None:
    first = await store.register(tenant, "one", Registration(name="gate"), 1)
    with pytest.raises(QuotaExceeded, match="may have 1 cameras"):
        await store.register(tenant, "two", Registration(name="yard"), 1)
    assert await store.register(tenant, "three", Registration(name="gate"), 1) == first


@pytest.mark.parametrize(
    "body",
    [
        {"tenant": "acme", "scope": "operator"},
        {"scope": "tenant"},
        {"tenant": "acme", "scope": "camera"},
        {"tenant": "Acme/1"},
        {"tenant": "acme", "label": "\n"},
    ],
)
def test_what_no_key_can_be_is_refused(body: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        NewKey.model_validate(body)


def test_only_an_operator_administers_and_only_a_tenant_changes() -> None:
    for scope in ("tenant", "read-only", "camera"):
        with pytest.raises(Forbidden):
            Principal("acme", scope).require_operator()
    with pytest.raises(Forbidden):
        Principal("acme", "read-only").require_tenant_key()
    with pytest.raises(Forbidden):
        Principal("acme", "read-only").require_upload()
    with pytest.raises(NotFound):
        Principal("", "operator").require_tenant_key()


def test_the_command_works_on_the_database_itself(
    server: EmbeddedServer, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENANCE_REDIS_URL", server.url)
    run = CliRunner().invoke
    key = run(app, ["create", tenant, "--label", "gate"]).stdout.strip()
    new = run(app, ["rotate", key.partition(".")[0]]).stdout.strip()
    assert run(app, ["revoke", new.partition(".")[0]]).exit_code == 0
    rows = [line.split("\t") for line in run(app, ["list", "--tenant", tenant]).stdout.splitlines()]
    assert sorted(row[0] for row in rows) == sorted(k.partition(".")[0] for k in (key, new))
    assert {tuple(row[1:]) for row in rows} == {(tenant, "tenant", "revoked", "gate")}
    assert f'"subject":"{new.partition(".")[0]}"' in run(app, ["audit"]).stdout
    again = run(app, ["revoke", new.partition(".")[0]])
    assert again.exit_code == 1
    assert "no such key in force" in again.stderr
    assert run(app, ["revoke", new]).exit_code == 2  # a whole key is not an id


def test_the_command_sets_limits(
    server: EmbeddedServer, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENANCE_REDIS_URL", server.url)
    run = CliRunner().invoke
    run(app, ["limits", tenant, "--cameras", "7", "--bytes-per-s", "1000"])
    again = json.loads(run(app, ["limits", tenant, "--segments-per-s", "3"]).stdout)
    assert (again["cameras"], again["bytes_per_s"], again["segments_per_s"]) == (7, 1000, 3)
    plain = json.loads(run(app, ["limits", tenant, "--default", "--cameras", "8"]).stdout)
    assert plain == OPTIONS.limits.model_dump() | {"cameras": 8}
    assert run(app, ["limits", tenant, "--gflops-per-s", "-1"]).exit_code == 2
    assert run(app, ["limits", "No Tenant"]).exit_code == 2


async def test_a_cameras_target_is_changed_by_its_name_and_written_down(
    store: StateStore, administrator: Administrator, tenant: str
) -> None:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), MANY)
    assert (await administrator.retarget(tenant, "gate", 0.8)).target_miou == 0.8
    status = await store.status(camera)
    assert status is not None
    assert status.target_miou == 0.8
    (entry,) = (await administrator.audit(tenant, "", 10)).entries
    assert (entry.act, entry.subject) == ("camera.patch", camera)
    with pytest.raises(NotFound, match="no camera yard"):
        await administrator.retarget(tenant, "yard", 0.8)


def test_the_command_sets_shows_and_clears_a_webhook(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    monkeypatch.setenv("PENANCE_REDIS_URL", server.url)
    run, url = CliRunner().invoke, "https://hooks.example/penance"
    secret = run(app, ["webhook", "set", tenant, url]).stdout.strip()
    assert len(secret) == 43
    shown = run(app, ["webhook", "show", tenant]).stdout
    assert json.loads(shown)["url"] == url
    assert secret not in shown
    assert run(app, ["webhook", "clear", tenant]).exit_code == 0
    gone = run(app, ["webhook", "show", tenant])
    assert gone.exit_code == 1
    assert "no webhook" in gone.stderr
    refused = run(app, ["webhook", "set", tenant, "http://169.254.169.254/latest"])
    assert refused.exit_code == 1
    assert "https" in refused.stderr
    assert run(app, ["webhook", "set", tenant, url, "--secret", "short"]).exit_code == 2


def test_the_command_says_what_to_do_where_no_database_answers(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENANCE_REDIS_URL", f"unix://{short_directory / 'nobody.sock'}")
    run = CliRunner().invoke(app, ["create", "acme"])
    assert run.exit_code == 1
    assert "serve run serving.app" in run.stderr
