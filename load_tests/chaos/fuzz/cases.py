"""Which case a number is: the same number and seed make the same bytes for the same cameras, so that a
finding can be played again alone, and a run can go on where it was broken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from load_tests.chaos.fuzz.case import Case, Target
from load_tests.chaos.fuzz.requests import body_case, header_case, json_case, query_case, route_case
from load_tests.chaos.fuzz.sockets import socket_case
from load_tests.chaos.fuzz.wire import wire_case

FAMILIES: dict[Callable[[Random, int, Sequence[bytes], Target], Case], int] = {
    body_case: 60,
    query_case: 8,
    header_case: 6,
    json_case: 9,
    route_case: 5,
    wire_case: 6,
    socket_case: 6,
}
"""Families with their share of all cases in hundredths: most are bytes that a decoder meets."""


def make_case(seed: int, index: int, segments: Sequence[bytes], target: Target) -> Case:
    """Case number `index` of a run with this seed, made of good segments, for a target."""
    random = Random(f"{seed}:{index}")
    (family,) = random.choices(list(FAMILIES), list(FAMILIES.values()))
    return family(random, index, segments, target)
