"""Transitions: one line for each committed segment, once, capped, with what its audit showed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clients.transitions import (
    MAX_SEEN,
    AuditedTransition,
    Transition,
    pack_seen,
    unpack_embedding,
    unpack_seen,
)
from serving.ingress.query import read_decision
from serving.problems import Invalid
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from serving.state.transitions import Decision
from tests.serving.test_state import new_camera, segment

KEPT = 100


@pytest.fixture
async def store(server: EmbeddedServer) -> AsyncIterator[StateStore]:
    store = StateStore(server.url, answers_kept=8, lease_s=1, transitions_kept=KEPT)
    yield store
    await store.close()


async def held(store: StateStore, *cameras: str) -> list[Transition | AuditedTransition]:
    return [line async for line in store.transitions.read(cameras)]


async def test_a_line_holds_what_was_chosen_and_what_came_of_it(store: StateStore) -> None:
    camera, decision = await new_camera(store), Decision(0.25, 3, "AAAA")
    told = segment(5, deficit=0.125, embedding=(0.5, -1.0), bandwidth=0.75, decision=decision)
    await store.commit(camera, told)
    [line] = await held(store, camera)
    assert isinstance(line, Transition)
    assert (line.camera, line.seq, line.configuration, line.bytes) == (camera, 5, 7, 1000)
    assert (line.probability, line.feedback, line.seen) == (0.25, 3, "AAAA")
    assert (line.bandwidth, line.target, line.cost) == (0.75, 0.65, 0.25)
    assert (line.deficit, line.overuse) == (0.125, -0.125)
    assert unpack_embedding(line.embedding).tolist() == [0.5, -1.0]


async def test_what_a_camera_does_not_say_is_unknown(store: StateStore) -> None:
    camera = await new_camera(store)
    await store.commit(camera, segment(0, overuse=None))
    [line] = await held(store, camera)
    assert isinstance(line, Transition)
    unknown = (line.probability, line.feedback, line.bandwidth, line.deficit, line.overuse)
    assert unknown == (None, None, None, None, None)
    assert (line.seen, line.embedding) == ("", "")


async def test_a_segment_that_is_committed_again_adds_no_line(store: StateStore) -> None:
    camera = await new_camera(store)
    for _ in range(3):
        await store.commit(camera, segment(0))
    assert len(await held(store, camera)) == 1


async def test_the_stream_is_capped_and_read_page_by_page(store: StateStore) -> None:
    camera, other = await new_camera(store), await new_camera(store)
    for seq in range(4 * KEPT):
        await store.commit(camera, segment(seq))
    await store.commit(other, segment(0))
    seqs = [line.seq for line in await held(store, camera, other)]
    kept = len(seqs) - 1
    assert KEPT <= kept <= 2 * KEPT  # Redis trims by whole nodes
    assert seqs == [*range(4 * KEPT - kept, 4 * KEPT), 0]


async def test_an_audit_adds_a_line_of_its_own(store: StateStore) -> None:
    camera = await new_camera(store)
    await store.commit(camera, segment(0, audit_share=0.5, audit_map="0 0.5\n{}"))
    for _ in range(2):
        await store.audits.settle(camera, 0, 0.375)
    lines = await held(store, camera)
    assert [line.kind for line in lines] == ["segment", "audit"]
    assert isinstance(lines[1], AuditedTransition)
    assert (lines[1].seq, lines[1].miou) == (0, 0.375)


async def test_nothing_is_kept_of_a_camera_that_is_deleted_or_where_nothing_shall_be(
    store: StateStore, server: EmbeddedServer
) -> None:
    camera = await new_camera(store)
    await store.commit(camera, segment(0))
    await store.delete("demo", camera)
    assert await held(store, camera) == []
    none = StateStore(server.url, answers_kept=8, lease_s=1, transitions_kept=0)
    camera = await new_camera(none)
    await none.commit(camera, segment(0, audit_share=0.5, audit_map="0 0.5\n{}"))
    await none.audits.settle(camera, 0, 0.375)
    assert await held(none, camera) == []
    await none.close()


def test_feedback_comes_from_a_segment_before() -> None:
    assert read_decision(5, 0.5, 4, "AA") == Decision(0.5, 4, "AA")
    with pytest.raises(Invalid, match="before this one, 5"):
        read_decision(5, 0.5, 5, "")


@given(
    arrays(np.float64, 18, elements=st.floats(1, 1e7)),
    arrays(np.float32, st.integers(0, 128), elements=st.floats(-1000, 1000, width=16)),
)
def test_what_a_policy_saw_survives_packing(sizes: np.ndarray, features: np.ndarray) -> None:
    packed = pack_seen(sizes, features)
    assert len(packed) <= MAX_SEEN
    found, beside = unpack_seen(packed, 18)
    np.testing.assert_allclose(found, sizes, rtol=0.01)
    np.testing.assert_array_equal(beside, features)


@pytest.mark.parametrize("text", ["A", "AAAA", "____" * 20])
def test_what_is_no_estimate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        unpack_seen(text, 18)
