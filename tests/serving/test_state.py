"""The state store against a real embedded server: exactly once, in commit order, to the last bit."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.protocol import DEFAULT_TARGET, CameraPatch, Registration, SegmentFormat
from serving.problems import StateUnavailable
from serving.state.averages import Averages
from serving.state.embedded import EmbeddedServer
from serving.state.store import Commit, Commitment, StateStore

KEPT = 8
MANY = 100  # cameras that a tenant may have


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=KEPT, lease_s=0.3)
    yield store
    await store.close()


@pytest.fixture
async def camera(store: StateStore) -> str:
    return await new_camera(store)


async def new_camera(store: StateStore) -> str:
    identity = uuid.uuid4().hex
    return await store.register("demo", identity, Registration(name=identity), MANY)


def segment(seq: int, **changes: object) -> Commit:
    commit = Commit(
        seq=seq,
        configuration=7,
        cost=0.25,
        overuse=-0.125,
        deficit=None,
        size=1000,
        frames=15,
        target=0.65,
        flops=10**9,
        answer=f'{{"seq": {seq}}}',
        embedding=None,
        dropped=(),
    )
    return replace(commit, **changes)  # type: ignore[arg-type]


async def test_a_segment_is_counted_once_however_often_it_is_committed(
    store: StateStore, camera: str
) -> None:
    assert (await store.begin(camera, 0)).verdict == "go"
    assert await store.commit(camera, segment(0)) == Commitment("committed", '{"seq": 0}')
    assert await store.commit(camera, segment(0, answer="another")) == Commitment("replay", '{"seq": 0}')
    replay = await store.begin(camera, 0)
    assert (replay.verdict, replay.detail) == ("replay", '{"seq": 0}')
    status = await store.status(camera)
    assert status is not None
    assert (status.segments, status.bytes, status.next_seq) == (1, 1000, 1)


async def test_the_same_segment_waits_while_the_first_is_running(store: StateStore, camera: str) -> None:
    assert (await store.begin(camera, 0)).verdict == "go"
    assert (await store.begin(camera, 0)).verdict == "wait"
    await store.release(camera, 0)
    assert (await store.begin(camera, 0)).verdict == "go"


async def test_a_claim_whose_holder_fell_silent_is_taken_over(store: StateStore, camera: str) -> None:
    assert (await store.begin(camera, 0)).verdict == "go"
    await asyncio.sleep(0.35)
    assert (await store.begin(camera, 0)).verdict == "go"


async def test_a_renewed_claim_is_not_taken_over(store: StateStore, camera: str) -> None:
    await store.begin(camera, 0)
    await asyncio.sleep(0.2)
    await store.renew(camera, 0)
    await asyncio.sleep(0.2)
    assert (await store.begin(camera, 0)).verdict == "wait"


async def test_a_claim_is_prolonged_while_it_is_held_and_never_after(
    server: EmbeddedServer, camera: str
) -> None:
    store = StateStore(server.url, answers_kept=KEPT, lease_s=0.002)
    others = asyncio.all_tasks()
    for number in range(1500):  # a cancellation in the moment in which a command is written may be swallowed
        async with store.held(camera, number):
            await asyncio.sleep(number % 100 / 5e4)
    await asyncio.sleep(0.2)
    assert asyncio.all_tasks() == others
    store = StateStore(server.url, answers_kept=KEPT, lease_s=0.3)
    await store.begin(camera, 0)
    async with store.held(camera, 0):
        await asyncio.sleep(0.5)
        assert (await store.begin(camera, 0)).verdict == "wait"
    await asyncio.sleep(0.4)
    assert (await store.begin(camera, 0)).verdict == "go"


async def test_a_segment_below_the_last_one_is_stale_and_changes_nothing(
    store: StateStore, camera: str
) -> None:
    await store.begin(camera, 5)
    await store.commit(camera, segment(5))
    before = await store.status(camera)
    assert (await store.begin(camera, 3)).verdict == "stale"
    assert (await store.commit(camera, segment(3))).verdict == "stale"
    assert await store.status(camera) == before


async def test_segments_in_flight_together_commit_in_the_order_in_which_they_finish(
    store: StateStore, camera: str
) -> None:
    await store.begin(camera, 0)
    await store.begin(camera, 1)
    assert (await store.commit(camera, segment(1))).verdict == "committed"
    assert (await store.commit(camera, segment(0))).verdict == "committed"
    status = await store.status(camera)
    assert status is not None
    assert (status.segments, status.next_seq) == (2, 2)


async def test_a_dropped_segment_counts_once_and_cannot_be_accepted_later(
    store: StateStore, camera: str
) -> None:
    await store.begin(camera, 0)
    await store.begin(camera, 2)
    await store.commit(camera, segment(2, dropped=((0, 1.0), (1, 0.5))))
    await store.begin(camera, 3)
    await store.commit(camera, segment(3, dropped=((0, 1.0), (1, 0.5), (2, 0.25))))
    status = await store.status(camera)
    assert status is not None
    assert (status.segments, status.dropped) == (2, 2)
    assert (await store.commit(camera, segment(0))).verdict == "dropped"
    assert (await store.begin(camera, 1)).verdict == "dropped"


async def test_old_answers_are_forgotten_and_their_segments_are_stale(store: StateStore, camera: str) -> None:
    for seq in range(KEPT + 3):
        await store.begin(camera, seq)
        await store.commit(camera, segment(seq))
    assert (await store.begin(camera, 2)).verdict == "stale"
    assert (await store.begin(camera, 3)).verdict == "replay"
    # What was accepted long ago is not counted again as dropped.
    await store.begin(camera, KEPT + 3)
    await store.commit(camera, segment(KEPT + 3, dropped=((1, 1.0),)))
    status = await store.status(camera)
    assert status is not None
    assert status.dropped == 0


async def test_the_same_name_again_updates_the_camera(store: StateStore) -> None:
    name = uuid.uuid4().hex
    first = await store.register("demo", "first", Registration(name=name), MANY)
    again = await store.register("demo", "second", Registration(name=name, target_miou=0.5), MANY)
    assert again == first
    status = await store.status(first)
    assert status is not None
    assert status.target_miou == 0.5


async def test_the_same_name_in_another_tenant_is_another_camera(store: StateStore) -> None:
    name = uuid.uuid4().hex
    ours = await store.register("demo", uuid.uuid4().hex, Registration(name=name), MANY)
    theirs = await store.register("other", uuid.uuid4().hex, Registration(name=name), MANY)
    assert ours != theirs
    assert await store.owner(theirs) == "other"


async def test_a_patch_leaves_the_rest_alone(store: StateStore, camera: str) -> None:
    await store.patch(camera, CameraPatch(segment=SegmentFormat(seconds=2.0)))
    status = await store.status(camera)
    assert status is not None
    assert (status.segment.frames, status.target_miou) == (30, 0.65)


async def test_a_deleted_camera_is_missing(store: StateStore, camera: str) -> None:
    await store.delete("demo", camera)
    assert (await store.begin(camera, 0)).verdict == "missing"
    assert (await store.commit(camera, segment(0))).verdict == "missing"
    assert await store.status(camera) is None


async def test_a_store_that_is_away_is_said_so() -> None:
    store = StateStore("redis://127.0.0.1:1", answers_kept=KEPT, lease_s=0.3)
    with pytest.raises(StateUnavailable) as refusal:
        await store.begin("camera", 0)
    assert refusal.value.retry_after_s


numbers = st.floats(0, 2, allow_nan=False)
events = st.lists(
    st.tuples(
        st.sampled_from([0.5, 0.65]),
        st.sampled_from(["", "lite-a", "lite-b"]),
        numbers,
        numbers | st.none(),
        numbers | st.none(),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(events=events)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_averages_in_redis_equal_the_reference_to_the_last_bit(server: EmbeddedServer, events: list) -> None:
    async def run() -> None:
        store = StateStore(server.url, answers_kept=KEPT, lease_s=0.3)
        camera, reference, total, seq = await new_camera(store), Averages(), 0.0, 0
        for target, bundle, cost, overuse, deficit, drop in events:
            dropped = []
            if drop:
                dropped, seq = [(seq, cost / 3)], seq + 1
                reference, total = reference.after_drop(target, cost / 3, bundle), total + cost / 3
            await store.begin(camera, seq)
            await store.commit(
                camera,
                segment(
                    seq,
                    target=target,
                    cost=cost,
                    overuse=overuse,
                    deficit=deficit,
                    dropped=dropped,
                    bundle=bundle,
                ),
            )
            reference, total, seq = (
                reference.after_segment(target, cost, overuse, deficit, bundle),
                total + cost,
                seq + 1,
            )
        status = await store.status(camera)
        assert status is not None
        assert status.cost_average == reference.cost
        assert status.deficit_average == reference.deficit
        assert status.overuse_average == reference.overuse
        assert status.cost_total == total
        await store.close()

    asyncio.run(run())


def test_the_embedded_server_keeps_its_data_when_it_is_killed(short_directory: Path) -> None:
    server = EmbeddedServer(short_directory / "killed")

    async def run() -> None:
        store = StateStore(server.url, answers_kept=KEPT, lease_s=0.3)
        camera = await new_camera(store)
        await store.begin(camera, 0)
        await store.commit(camera, segment(0))
        pid = server.pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await store.close()
        server.ensure_running()
        assert server.pid() != pid
        store = StateStore(server.url, answers_kept=KEPT, lease_s=0.3)
        assert (await store.begin(camera, 0)).verdict == "replay"
        await store.close()

    server.ensure_running()
    try:
        asyncio.run(run())
    finally:
        server.stop()


def test_a_running_server_is_taken_over_not_started_twice(server: EmbeddedServer) -> None:
    pid = server.pid()
    other = EmbeddedServer(server.directory.parent)
    other.ensure_running()
    assert other.pid() == pid


def test_it_listens_on_no_port(server: EmbeddedServer) -> None:
    kinds = {c.status for c in psutil.Process(server.pid()).net_connections("inet")}
    assert "LISTEN" not in kinds


async def test_registering_without_a_target_keeps_the_one_that_was_set(store: StateStore) -> None:
    name = uuid.uuid4().hex
    camera = await store.register("acme", uuid.uuid4().hex, Registration(name=name), 100)
    assert (await target_of(store, camera)) == DEFAULT_TARGET
    await store.patch(camera, CameraPatch(target_miou=0.8))
    await store.register("acme", uuid.uuid4().hex, Registration(name=name), 100)
    assert (await target_of(store, camera)) == 0.8
    await store.register("acme", uuid.uuid4().hex, Registration(name=name, target_miou=0.5), 100)
    assert (await target_of(store, camera)) == 0.5


async def target_of(store: StateStore, camera: str) -> float:
    status = await store.status(camera)
    assert status is not None
    return status.target_miou
