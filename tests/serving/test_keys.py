"""Keys: whom they speak for, what is stored of them, and what happens while Redis is away."""

from __future__ import annotations

import stat
import uuid
from pathlib import Path

import pytest

from clients.protocol import Registration
from serving.keys import CACHE_S, Keyring, Principal, ensure_demo_key
from serving.problems import NotFound, StateUnavailable, Unauthenticated
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore

MANY = 100  # cameras that a tenant may have


async def test_a_key_speaks_for_whom_it_was_issued_to(store: StateStore) -> None:
    keyring = Keyring(store)
    key = await keyring.issue(Principal("acme", "tenant"))
    assert await keyring.authenticate(f"Bearer {key}") == Principal("acme", "tenant")


async def test_a_new_camera_token_replaces_the_old_one(store: StateStore) -> None:
    keyring = Keyring(store)
    camera = await store.register("acme", uuid.uuid4().hex, Registration(name="gate"), MANY)
    old = await keyring.issue(Principal("acme", "camera", camera))
    new = await keyring.issue(Principal("acme", "camera", camera))
    assert (await keyring.authenticate(f"Bearer {new}")).camera == camera
    with pytest.raises(Unauthenticated):
        await Keyring(store).authenticate(f"Bearer {old}")


async def test_the_secret_is_not_stored(store: StateStore) -> None:
    key_id, secret = (await Keyring(store).issue(Principal("acme", "tenant"))).split(".")
    assert secret not in str(await store.read_key(key_id))


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer a.b", "Bearer " + "a" * 12 + "." + "b" * 43],
)
async def test_anything_else_is_nobody(store: StateStore, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        await Keyring(store).authenticate(header)


async def test_a_wrong_secret_is_nobody(store: StateStore) -> None:
    keyring = Keyring(store)
    key_id = (await keyring.issue(Principal("acme", "tenant"))).split(".")[0]
    with pytest.raises(Unauthenticated):
        await keyring.authenticate(f"Bearer {key_id}.{'A' * 43}")


def test_a_camera_token_administers_nothing() -> None:
    with pytest.raises(NotFound):
        Principal("acme", "camera", "c").require_tenant_key()


async def test_a_known_key_outlives_redis_and_an_unknown_one_waits(short_directory: Path) -> None:
    server = EmbeddedServer(short_directory / "away")
    server.ensure_running()
    store, now = StateStore(server.url, answers_kept=8, lease_s=1), [0.0]
    keyring = Keyring(store, clock=lambda: now[0])
    known = await keyring.issue(Principal("acme", "tenant"))
    unknown = await keyring.issue(Principal("acme", "tenant"))
    await keyring.authenticate(f"Bearer {known}")
    server.stop()
    now[0] = CACHE_S + 1
    assert (await keyring.authenticate(f"Bearer {known}")).tenant == "acme"
    with pytest.raises(StateUnavailable):
        await keyring.authenticate(f"Bearer {unknown}")
    await store.close()


async def test_the_demo_key_is_made_once_for_its_owner_only(store: StateStore, tmp_path: Path) -> None:
    path = tmp_path / "state" / "demo.key"
    await ensure_demo_key(store, path)
    key = path.read_text()
    await ensure_demo_key(store, path)
    assert path.read_text() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await Keyring(store).authenticate(f"Bearer {key.strip()}")).tenant == "demo"
    assert list(path.parent.iterdir()) == [path]
