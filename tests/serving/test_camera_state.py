"""A camera's state as it stands in the database: its version, its size, its end."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator

import numpy as np
import pytest

from clients.protocol import CameraLimits, CameraPatch, Registration
from serving.problems import StateUnavailable
from serving.state.connection import PREFIX, camera_key
from serving.state.embedded import EmbeddedServer
from serving.state.store import STATE_VERSION, StateStore, pack_embedding
from tests.serving.test_state import segment

IDLE_S = 1000
EMBEDDING = tuple(np.random.default_rng(0).normal(size=120).tolist())


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1, idle_s=IDLE_S)
    yield store
    await store.close()


@pytest.fixture
async def camera(store: StateStore) -> str:
    return await store.register("acme", uuid.uuid4().hex[:16], Registration(name=uuid.uuid4().hex), 100)


async def commit(store: StateStore, camera: str, seq: int, **changes: object) -> str:
    await store.begin(camera, seq)
    return (await store.commit(camera, segment(seq, **changes))).verdict


async def test_a_state_of_version_1_is_taken_over_with_its_averages(store: StateStore, camera: str) -> None:
    old = {"state_version": "1", "state_target": "0.65000000000000002", "last_seq": "41", "segments": "40"}
    old |= {"cost_average": "0.5", "deficit_average": "0.125", "overuse_average": "0", "cost_total": "20"}
    old |= {"last_embedding": json.dumps(EMBEDDING)}
    await store._redis.hset(camera_key(camera), mapping=old)
    assert await commit(store, camera, 42, cost=0.25, deficit=-0.125) == "committed"
    state = await store._redis.hgetall(camera_key(camera))
    assert state["state_version"] == str(STATE_VERSION)
    assert (state["segments"], state["last_seq"], state["deficit_updates"]) == ("41", "42", "1")
    assert float(state["deficit_average"]) == 0.2 * -0.125 + (1 - 0.2) * 0.125
    assert float(state["cost_average"]) == 0.2 * 0.25 + (1 - 0.2) * 0.5
    assert "last_embedding" not in state


async def test_a_state_of_a_later_version_is_left_alone(store: StateStore, camera: str) -> None:
    await store._redis.hset(camera_key(camera), "state_version", str(STATE_VERSION + 1))
    with pytest.raises(StateUnavailable, match="later version"):
        await store.begin(camera, 0)


async def test_beside_the_embedding_a_camera_takes_a_kilobyte_at_most(store: StateStore, camera: str) -> None:
    third = 1 / 3
    await store.patch(
        camera, CameraPatch(limits=CameraLimits(segments_per_s=third, gflops_per_s=third, bytes_per_s=third))
    )
    for seq in range(50):
        changes = {"cost": third, "overuse": -third / 7, "deficit": third / 11, "embedding": EMBEDDING}
        changes |= {"audit_share": 0.02, "audit_map": "x" * 5000}
        await commit(store, camera, 10**15 + seq, dropped=[(10**14 + seq, third)], size=10**6, **changes)
    state = await store._redis.hgetall(camera_key(camera))
    assert len(state.pop("last_embedding")) <= 640
    assert sum(len(name.encode()) + len(value.encode()) for name, value in state.items()) <= 1024


async def test_its_own_limits_are_kept_told_to_the_next_segment_and_lifted(
    store: StateStore, camera: str
) -> None:
    given = CameraLimits(segments_per_s=1 / 3, bytes_per_s=1e5)
    await store.patch(camera, CameraPatch(limits=given))
    await store.patch(camera, CameraPatch(target_miou=0.5, limits=CameraLimits(bytes_per_s=2e5)))
    status = await store.status(camera)
    assert status is not None
    assert status.limits == CameraLimits(segments_per_s=1 / 3, bytes_per_s=2e5)
    name = await store._redis.hget(camera_key(camera), "name")
    await store.register("acme", "another", Registration(name=name), 100)  # registering anew lifts nothing
    assert (await store.begin(camera, 0)).rates == {"segments_per_s": 1 / 3, "bytes_per_s": 2e5}
    await store.patch(camera, CameraPatch(limits=CameraLimits(segments_per_s=None)))
    assert (await store.begin(camera, 1)).rates == {"bytes_per_s": 2e5}


async def test_the_embedding_is_kept_as_float32(store: StateStore, camera: str) -> None:
    await commit(store, camera, 0, embedding=EMBEDDING)
    held = await store._redis.hget(camera_key(camera), "last_embedding")
    assert held == pack_embedding(EMBEDDING)


async def test_a_new_target_begins_a_new_epoch(store: StateStore, camera: str) -> None:
    for seq, target in enumerate((0.65, 0.65, 0.7, 0.7, 0.7)):
        await commit(store, camera, seq, target=target, deficit=0.1)
    state = await store._redis.hmget(camera_key(camera), "epoch", "deficit_updates")
    assert state == ["1", "3"]


async def test_an_idle_camera_is_forgotten_and_each_segment_keeps_it_longer(
    store: StateStore, camera: str
) -> None:
    key = camera_key(camera)
    await store._redis.expire(key, 5)
    await commit(store, camera, 0)
    assert await store._redis.ttl(key) > IDLE_S - 10
    assert await store._redis.ttl(key.replace(":camera", ":answers")) > IDLE_S - 10


async def test_a_forgotten_camera_registers_again_under_its_id(store: StateStore, camera: str) -> None:
    name = await store._redis.hget(camera_key(camera), "name")
    await store._redis.delete(camera_key(camera))
    assert (await store.begin(camera, 0)).verdict == "missing"
    assert await store.register("acme", "another", Registration(name=name), 100) == camera
    assert await commit(store, camera, 0) == "committed"


async def test_keys_of_versions_before_hash_tags_are_taken_over(store: StateStore) -> None:
    fields = {"sha256": "0" * 64, "tenant": "acme", "scope": "tenant"}
    await store._redis.hset(f"{PREFIX}key:abcdefghijkl", mapping=fields)
    await store.keys.take_over()
    await store.keys.take_over()
    assert await store.read_key("abcdefghijkl") == fields
    assert not await store._redis.exists(f"{PREFIX}key:abcdefghijkl")
