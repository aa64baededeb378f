"""Fuzzing cases follow from seed and number alone, and are of every kind."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.bundle import Bundle
from load_tests.chaos.fuzz.bodies import MUTATIONS
from load_tests.chaos.fuzz.boxes import boxes
from load_tests.chaos.fuzz.campaign import FORM, RUNG
from load_tests.chaos.fuzz.case import Case, Due, Target
from load_tests.chaos.fuzz.cases import FAMILIES, make_case
from load_tests.footage import Footage

TARGET = Target(
    "127.0.0.1:8000",
    f"{'k' * 12}.{'s' * 43}",
    "fuzz",
    "c" * 16,
    f"{'t' * 12}.{'s' * 43}",
    "v" * 16,
    "lite-0",
    89,
)


@pytest.fixture(scope="module")
def segments() -> list[bytes]:
    bundle = Bundle.load()
    return Footage(bundle, FORM, stretches=3).bodies(bundle.ladder[bundle.ladder.index(*RUNG)])


@pytest.fixture(scope="module")
def many(segments: list[bytes]) -> list[Case]:
    return [make_case(7, index, segments, TARGET) for index in range(3000)]


@settings(max_examples=200)
@given(seed=st.integers(0, 2**32), index=st.integers(0, 10**9))
def test_a_case_can_be_made_again_alone(segments: list[bytes], seed: int, index: int) -> None:
    assert make_case(seed, index, segments, TARGET) == make_case(seed, index, segments, TARGET)


def test_other_numbers_and_other_seeds_are_other_cases(segments: list[bytes], many: list[Case]) -> None:
    assert len({case.pieces for case in many}) > 0.95 * len(many)
    assert sum(make_case(8, case.index, segments, TARGET) == case for case in many[:200]) < 10


def test_families_come_in_their_shares(many: list[Case]) -> None:
    found = Counter(case.family for case in many)
    assert len(found) == len(FAMILIES)
    assert found["body"] / len(many) == pytest.approx(0.6, abs=0.05)
    assert min(found.values()) / len(many) > 0.03


def test_every_mutation_of_a_body_occurs(many: list[Case]) -> None:
    done = {name for case in many if case.family == "body" for name in case.what.split(", ")}
    assert done == set(MUTATIONS)


def test_what_is_whole_http_is_due_an_answer_and_the_rest_need_none(many: list[Case]) -> None:
    due = {family: {c.due for c in many if c.family == family} for family in ("body", "json", "socket")}
    assert due["body"] == due["json"] == {Due.ANSWER}
    assert due["socket"] == {Due.REPLY, Due.SOCKET, Due.ANYTHING}
    assert not any(case.hang_up and case.due is Due.ANSWER for case in many)


def test_no_case_is_without_an_end_or_a_beginning(many: list[Case]) -> None:
    assert all(case.pieces for case in many)
    assert max(sum(piece.pause_s for piece in case.pieces) for case in many) < 1
    assert max(sum(len(piece.data) for piece in case.pieces) for case in many) < 4 * 2**20


def test_boxes_of_a_good_file_cover_it(segments: list[bytes]) -> None:
    for segment in segments:
        found = boxes(segment)
        kinds = {box.kind for box in found}
        assert {b"ftyp", b"moov", b"mdat", b"trak", b"stbl", b"stsz"} <= kinds
        outer = [b for b in found if not any(o.start < b.start and b.end <= o.end for o in found)]
        assert [b.start for b in outer] == [0, *[b.end for b in outer[:-1]]]
        assert outer[-1].end == len(segment)


@given(st.binary(max_size=400))
def test_boxes_of_anything_lie_within_it(data: bytes) -> None:
    assert all(0 <= box.start < box.end <= len(data) for box in boxes(data))
