"""Results out: each committed segment once, through broken connections and from any replica, within a window;
label maps as long as their tenant keeps them."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import numpy as np
import pytest
from httpx_sse import connect_sse
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import RefusedByServer
from clients.protocol import LabelMaps, MaskMode, Registration
from clients.results import AuditResult, Gap, Result, Retention, RetentionPatch
from clients.subscription import Results
from load_tests.interface import served
from serving.ingress import results as feeds
from serving.ingress.places import Places, PlacesOptions
from serving.ingress.results import in_order, number
from serving.keys import Keyring, Principal
from serving.problems import Overloaded
from serving.state.embedded import EmbeddedServer
from serving.state.results import Entry, HeldMaps
from serving.state.store import Commit, StateStore
from tests.conftest import REPOSITORY
from tests.serving.test_state import MANY, segment

TIMINGS = dict.fromkeys(("receive", "queue", "decode", "infer", "embed", "state", "total"), 1.0)
TENANT = "acme"


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1, results_kept=64, maps_kept=4)
    yield store
    await store.close()


@pytest.fixture(scope="module")
def replicas(server: EmbeddedServer) -> Iterator[list[str]]:
    with served(server.url) as one, served(server.url) as another:
        yield [one, another]


async def register(store: StateStore, tenant: str = TENANT) -> tuple[str, str]:
    """A new camera and a key of its tenant."""
    name = uuid.uuid4().hex
    camera = await store.register(tenant, name, Registration(name=name), MANY)
    return camera, await Keyring(store).issue(Principal(tenant, "tenant"))


def committed(seq: int, **changes: Any) -> Commit:
    result = {
        "seq": seq,
        "captured_at": None,
        "bundle": "lite-1",
        "configuration": 7,
        "cost": 0.25,
        "predicted_miou": 0.7,
        "target_miou": 0.65,
        "class_shares": {"road": 0.5, "sky": 0.5},
        "timings_ms": TIMINGS,
        "bytes": 1000,
        "bandwidth": 0.8,
    }
    return segment(seq, result=json.dumps(result), **changes)


def maps(seq: int, asked: MaskMode, kept: MaskMode) -> HeldMaps:
    return HeldMaps(seq, asked, kept, LabelMaps.pack(picture(seq)).model_dump_json())


def picture(seq: int) -> np.ndarray:
    return np.random.default_rng(seq).integers(0, 19, (3, 12, 16), np.uint8)


async def held(store: StateStore, camera: str, after: str = "0-0") -> list[Entry]:
    return (await store.results.read({camera: after})).get(camera, [])


# What is in the stream


async def test_a_result_says_what_was_answered_and_what_was_dropped_before(store: StateStore) -> None:
    camera, _ = await register(store)
    for commit in (committed(0), committed(3, dropped=((1, 0.5), (2, 0.5))), committed(3)):
        await store.commit(camera, commit)
    first, second = [entry.event for entry in await held(store, camera)]
    assert isinstance(first, Result)
    assert isinstance(second, Result)
    assert (first.seq, first.previous, first.dropped) == (0, None, ())
    assert (second.seq, second.previous, second.dropped) == (3, 0, (1, 2))
    assert (second.camera, second.configuration, second.bandwidth) == (camera, 7, 0.8)
    assert abs(second.at - time.time()) < 5


async def test_what_an_audit_showed_follows_its_segment(store: StateStore) -> None:
    camera, _ = await register(store)
    await store.commit(camera, committed(0, audit_share=0.5, audit_map="0 0.5\n{}"))
    for _ in range(2):
        await store.audits.settle(camera, 0, 0.375)
    _, audit = [entry.event for entry in await held(store, camera)]
    assert isinstance(audit, AuditResult)
    assert (audit.seq, audit.miou) == (0, 0.375)


async def test_the_window_is_bounded_in_number_and_in_time(store: StateStore) -> None:
    camera, _ = await register(store)
    for seq in range(100):
        await store.commit(camera, committed(seq))
    assert [entry.event.seq for entry in await held(store, camera)] == list(range(36, 100))
    await asyncio.sleep(0.3)
    await store.commit(camera, committed(100, window_s=0.2))
    assert [entry.event.seq for entry in await held(store, camera)] == [100]
    await asyncio.sleep(0.3)
    assert await held(store, camera) == []


@pytest.mark.parametrize("commits", [[5, 6, 7, 8], [5, 7, 6, 8]])
async def test_a_reader_goes_on_behind_the_last_it_has_in_the_order_of_the_commits(
    store: StateStore, commits: list[int]
) -> None:
    camera, _ = await register(store)
    for seq in commits:
        await store.begin(camera, seq)
    for seq in commits:
        await store.commit(camera, committed(seq))
    for index, seq in enumerate(commits):
        place = await store.results.place(camera, seq)
        assert place.gap is None
        rest = [entry.event.seq for entry in await held(store, camera, place.after)]
        assert rest == commits[index + 1 :]
    assert await held(store, camera, (await store.results.place(camera, None)).after) == []


async def test_a_gap_is_told_where_something_is_lost_and_only_there(store: StateStore) -> None:
    camera, _ = await register(store)
    for seq in range(70):
        await store.commit(camera, committed(seq))
    assert (await store.results.place(camera, 6)).gap is None
    assert (await store.results.place(camera, 5)).gap is None  # 6 is the oldest, so nothing is missing
    assert (await store.results.place(camera, 4)).gap == Gap(camera=camera, after=4, next=6)
    await store.commit(camera, committed(70, window_s=0.05))
    await asyncio.sleep(0.1)
    assert (await store.results.place(camera, 70)).gap is None
    assert (await store.results.place(camera, 69)).gap == Gap(camera=camera, after=69, next=None)
    empty, _ = await register(store)
    start = await store.results.place(empty, None)
    await store.commit(empty, committed(0))
    assert [entry.event.seq for entry in await held(store, empty, start.after)] == [0]


async def test_nothing_is_left_of_a_camera_that_is_deleted(store: StateStore) -> None:
    camera, _ = await register(store)
    await store.commit(camera, committed(0, maps=maps(0, "all", "all"), maps_kept_s=60))
    await store.delete(TENANT, camera)
    assert await held(store, camera) == []
    assert await store.results.maps(camera, [0]) == {}


# Label maps


async def test_the_newest_label_maps_are_held_and_each_for_its_time(store: StateStore) -> None:
    camera, _ = await register(store)
    for seq in range(6):
        await store.commit(camera, committed(seq, maps=maps(seq, "none", "last"), maps_kept_s=1))
    found = await store.results.maps(camera, list(range(6)))
    assert sorted(found) == [2, 3, 4, 5]
    await asyncio.sleep(1.1)
    assert await store.results.maps(camera, list(range(6))) == {}


def test_camera_and_reader_get_the_part_that_is_theirs() -> None:
    both = maps(1, "all", "last")
    last = picture(1)[-1:]
    camera, reader = both.for_camera(), both.for_reader("all")
    assert camera is not None
    assert reader is not None
    assert np.array_equal(camera.unpack(), picture(1))
    assert np.array_equal(reader.unpack(), last)
    assert both.for_reader("none") is None
    assert maps(1, "all", "none").for_reader("all") is None


async def test_a_tenant_keeps_no_label_maps_if_it_wants_none_and_that_is_logged(
    store: StateStore, replicas: list[str], tenant: str
) -> None:
    _, key = await register(store, tenant)
    own = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=replicas[0], headers=own) as http:
        path = f"/v1/tenants/{tenant}/retention"
        assert (await http.get(path)).json() == Retention().model_dump()
        changed = await http.patch(path, json={"label_maps": "none", "window_s": 30})
        assert changed.json() == {"label_maps": "none", "window_s": 30}
        refused = await http.get("/v1/results", params={"masks": "last"})
        assert refused.status_code == 422
        assert "keeps no label maps" in refused.json()["detail"]
        assert (await http.patch(path, json={"window_s": 1e9})).status_code == 422
        await http.patch(path, json={"window_s": None})
        assert (await http.get(path)).json() == {"label_maps": "none", "window_s": 120}
    entries = [fields for _, fields in await store.keys.log(tenant, "", 10)]
    assert [(entry["act"], entry["actor"]) for entry in entries] == [("retention.set", key.split(".")[0])] * 2
    assert json.loads(entries[0]["detail"]) == {"label_maps": "none", "window_s": 30.0}


def test_the_documented_reader_reads_what_is_sent() -> None:
    text = (REPOSITORY / "docs" / "results.md").read_text(encoding="utf-8")
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "def label_maps" in block
    )
    assert len([line for line in code.splitlines() if line.strip() and "import" not in line]) <= 10
    scope: dict[str, Any] = {}
    exec(code, scope)
    for shape in ((1, 1, 1), (3, 12, 16), (2, 720, 1280)):
        there = np.random.default_rng(1).integers(0, 3, shape, np.uint8)
        assert np.array_equal(scope["label_maps"](LabelMaps.pack(there).model_dump()), there)


# Over HTTP


@contextmanager
def breaking(targets: list[str], cuts: int, seed: int) -> Iterator[tuple[str, list[int]]]:
    """A proxy to replicas by turns that breaks each connection off after some bytes, in the middle of
    whatever comes, `cuts` times; then it lets everything through. The list grows by one with each cut."""
    listener, draws = socket.create_server(("127.0.0.1", 0)), random.Random(seed)
    made: list[int] = []
    ended = threading.Event()

    def serve() -> None:
        turn = 0
        while not ended.is_set():
            with suppress(OSError):
                near, _ = listener.accept()
                address = httpx.URL(targets[turn % len(targets)])
                turn += 1
                threading.Thread(target=forward, args=(near, address), daemon=True).start()

    def forward(near: socket.socket, address: httpx.URL) -> None:
        with near, socket.create_connection((address.host, address.port or 80)) as far, suppress(OSError):
            far.sendall(near.recv(65536))
            left = draws.randrange(1_000, 40_000) if len(made) < cuts else 1 << 40
            while data := far.recv(4096):
                near.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    made.append(1)
                    near.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                    )  # reset, not end
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", made
    ended.set()
    listener.close()


COMMITS, CUTS = 1000, 20


async def commit_all(database: str, cameras: list[str], ready: threading.Event) -> list[tuple[str, int]]:
    """Commits a thousand segments, some out of order and with some dropped; what was committed, in order."""
    store = StateStore(database, answers_kept=64, lease_s=5, results_kept=COMMITS)
    order: list[tuple[str, int]] = []
    await asyncio.to_thread(ready.wait)
    for start in range(0, COMMITS, 4):
        camera = cameras[start // 4 % len(cameras)]
        seqs = [3 * start, 3 * start + 1, 3 * start + 2, 3 * start + 4]
        for seq in seqs:
            await store.begin(camera, seq)
        for seq in (seqs[0], seqs[2], seqs[1], seqs[3]):
            dropped = ((seq - 1, 0.5),) if seq == seqs[3] else ()
            done = await store.commit(camera, committed(seq, dropped=dropped))
            assert done.verdict in ("committed", "replay")  # a slow database is asked twice
            order.append((camera, seq))
        await asyncio.sleep(0.02)
    await store.close()
    return order


@pytest.mark.parametrize("whole_tenant", [False, True])
async def test_a_thousand_results_through_twenty_broken_connections_come_once_each(
    server: EmbeddedServer, replicas: list[str], store: StateStore, tenant: str, whole_tenant: bool
) -> None:
    cameras, key = [], ""
    for _ in range(3 if whole_tenant else 1):
        camera, key = await register(store, tenant)
        cameras.append(camera)
    ready, received = threading.Event(), []
    with breaking(replicas, CUTS, seed=1) as (proxy, cuts):
        only, start = (None, "0-0") if whole_tenant else (cameras[0], -1)
        results = Results(only, key=key, server=proxy, after=start, patience=60)

        def read() -> list[Gap]:
            ready.set()
            for result in results:
                received.append((result.camera, result.seq))
                if len(received) == COMMITS:
                    break
            return results.gaps

        with results:
            reading = asyncio.create_task(asyncio.to_thread(read))
            order = await commit_all(server.url, cameras, ready)
            gaps = await reading
        await asyncio.sleep(0.5)
    assert len(cuts) == CUTS
    assert gaps == []
    for camera in cameras:
        assert [one for one in received if one[0] == camera] == [one for one in order if one[0] == camera]
    assert len(received) == len(set(received)) == COMMITS


async def test_a_reader_gets_the_label_maps_that_are_kept(
    server: EmbeddedServer, store: StateStore, replicas: list[str]
) -> None:
    camera, key = await register(store)
    own = StateStore(server.url, 8, 1)  # its ring is as large as the replicas'
    for seq in range(3):
        await own.commit(camera, committed(seq, maps=maps(seq, "none", "last"), maps_kept_s=60))
    await own.close()

    def read(masks: MaskMode) -> list[Result]:
        found = []
        with Results(camera, key=key, server=replicas[0], after=1, masks=masks) as results:
            for result in results:
                found.append(result)
                break
        return found

    [result] = await asyncio.to_thread(read, "last")
    assert result.masks is not None
    assert np.array_equal(result.masks.unpack(), picture(2)[-1:])
    [bare] = await asyncio.to_thread(read, "none")
    assert bare.masks is None


async def test_a_key_that_ended_reads_no_further(
    store: StateStore, replicas: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "CHECK_S", 0.2)
    monkeypatch.setattr("serving.keys.CACHE_S", 0.1)
    camera, key = await register(store)

    def read() -> str:
        own, path = {"Authorization": f"Bearer {key}"}, f"/v1/clients/{camera}/results"
        with (
            httpx.Client(base_url=replicas[0], headers=own) as http,
            connect_sse(http, "GET", path) as source,
        ):
            opened.set()
            return next(event.data for event in source.iter_sse() if event.event == "problem")

    opened = threading.Event()
    reading = asyncio.create_task(asyncio.to_thread(read))
    await asyncio.to_thread(opened.wait)
    await store.keys.end(key.split(".")[0], "offline:tester")
    assert json.loads(await asyncio.wait_for(reading, 10))["status"] == 401


async def test_who_may_not_read_is_refused_at_once_and_for_good(
    store: StateStore, replicas: list[str]
) -> None:
    camera, _ = await register(store)
    _, stranger = await register(store, "stranger")

    def read(key: str) -> int:
        with Results(camera, key=key, server=replicas[0]) as results:
            try:
                next(iter(results))
            except RefusedByServer as refusal:
                return refusal.problem.status
        return 200

    assert await asyncio.to_thread(read, stranger) == 404
    assert await asyncio.to_thread(read, f"{'x' * 12}.{'y' * 43}") == 401


def test_places_are_bounded_by_replica_and_by_tenant() -> None:
    places = Places(PlacesOptions(most=3, most_per_tenant=2))
    with places.hold("a"), places.hold("a"):
        with pytest.raises(Overloaded), places.hold("a"):
            pass
        with places.hold("b"), pytest.raises(Overloaded), places.hold("c"):
            pass
    with places.hold("a"), places.hold("a"), places.hold("c"):
        pass


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), unique=True),
        max_size=3,
    ),
    st.integers(1, 4),
)
def test_streams_that_are_read_page_by_page_come_in_order(
    streams: dict[str, list[tuple[int, int]]], page: int
) -> None:
    whole = {
        camera: [Entry(f"{a}-{b}", AuditResult(camera=camera, seq=a, at=0, miou=0)) for a, b in sorted(ids)]
        for camera, ids in streams.items()
    }
    positions, told = dict.fromkeys(whole, (-1, 0)), []
    for _ in range(100):
        pages = {
            camera: [entry for entry in entries if number(entry.id) > positions[camera]][:page]
            for camera, entries in whole.items()
        }
        batch = in_order({camera: entries for camera, entries in pages.items() if entries}, page)
        for entry in batch:
            positions[entry.event.camera] = number(entry.id)
        told += batch
        if not any(pages.values()):
            break
    assert [number(entry.id) for entry in told] == sorted(
        number(e.id) for each in whole.values() for e in each
    )


def test_the_example_in_the_interfaces_description_is_valid() -> None:
    for message in (Result, RetentionPatch):
        (example,) = message.model_json_schema()["examples"]
        message.model_validate(example)
