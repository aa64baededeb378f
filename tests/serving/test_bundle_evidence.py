"""Trials of bundles, simulated: bad ones are found within the documented number, good ones are kept."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bundles.evidence import CanaryOptions, Evidence
from serving.state.bundles import Arm

OPTIONS = CanaryOptions()
SHARE = 0.1  # of the cameras
RUNS = 100


class Fleet(NamedTuple):
    """How cameras of one bundle fare: share of failures, mean mIoU."""

    failing: float
    miou: float


IN_FORCE = Fleet(0.1, 0.75)


def audits(seed: int, canary: Fleet, others: Fleet = IN_FORCE, spread: float = 0.12):
    """Verdicts for ever, as they come from a fleet of which `SHARE` is on trial."""
    random = np.random.default_rng(seed)
    while True:
        for on_trial, chance, noise in zip(
            random.random(256) < SHARE, random.random(256), random.normal(0, spread, 256), strict=True
        ):
            fleet: Fleet = canary if on_trial else others
            arm: Arm = "canary" if on_trial else "others"
            yield arm, float(np.clip(fleet.miou + noise, 0, 1)), bool(chance < fleet.failing)


def found_after(seed: int, canary: Fleet, most: int, others: Fleet = IN_FORCE) -> int | None:
    """Audited segments of cameras on trial until the bundle is taken back; None if it is not."""
    evidence, audited = Evidence(OPTIONS), 0
    for verdict in audits(seed, canary, others):
        evidence.add([verdict])
        if verdict[0] == "others":  # most of them; a pair comes with the next one on trial
            continue
        audited += 1
        if evidence.worse:
            return audited
        if audited >= most:
            return None
    return None


@pytest.mark.parametrize(
    ("canary", "within"),
    [(Fleet(1.0, 0.05), 20), (Fleet(0.6, 0.55), 80), (Fleet(0.4, 0.65), 400)],
    ids=["always fails", "six in ten fail", "four in ten fail"],
)
def test_a_worse_bundle_is_found_within_the_documented_number_of_audits(canary: Fleet, within: int) -> None:
    found = [found_after(seed, canary, 4 * within) for seed in range(RUNS)]
    late = [after for after in found if after is None or after > within]
    assert len(late) <= 0.05 * RUNS, sorted(after or 10**6 for after in found)[-15:]


@pytest.mark.parametrize(
    ("canary", "others"),
    [(IN_FORCE, IN_FORCE), (Fleet(0.5, 0.6), Fleet(0.5, 0.6)), (Fleet(0.2, 0.65), IN_FORCE)],
    ids=["as good", "as bad", "worse by just the margin"],
)
def test_a_bundle_that_is_no_worse_is_kept_however_often_it_is_looked_at(
    canary: Fleet, others: Fleet
) -> None:
    taken_back = sum(found_after(seed, canary, 300, others) is not None for seed in range(RUNS))
    assert taken_back <= 3 * (1 - OPTIONS.confidence) * RUNS  # 1 % is promised; three times that never comes


@given(
    st.lists(st.tuples(st.sampled_from(["canary", "others"]), st.floats(0, 1), st.booleans()), max_size=60)
)
def test_evidence_is_the_same_however_audits_are_handed_over(verdicts: list[tuple[Arm, float, bool]]) -> None:
    whole, parts = Evidence(OPTIONS), Evidence(OPTIONS)
    whole.add(verdicts)
    for verdict in verdicts:
        parts.add([verdict])
    assert whole.value == parts.value > 0
    assert (whole.taken, whole.standing()) == (len(verdicts), parts.standing())
    assert math.isfinite(whole.value)


def test_without_audits_nothing_is_known() -> None:
    evidence = Evidence(OPTIONS)
    assert (evidence.value, evidence.worse) == (pytest.approx(1), False)
    evidence.add([("canary", 0.0, True)] * 100)  # nothing to compare it with
    assert (evidence.value, evidence.worse) == (pytest.approx(1), False)
