"""Plans of bundles: nothing is named before all replicas hold it, and everything can be undone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.rollout import SHIPPED, Canary, Holder, Plan
from serving.bundles.switching import PREPARE_S, advance, needed_roles, prepare, roll_back, switch
from serving.problems import Invalid

A, B, C = (f"{name}-0123456789ab" for name in ("a", "b", "c"))
BASE = "lite-0123456789ab"
ROLES = sorted(needed_roles(5))


def replicas(*held: str) -> list[Holder]:
    return [Holder(role=role, shipped=BASE, held=held) for role in ROLES]


def activated(plan: Plan, bundle: str) -> Plan:
    return switch(prepare(plan, bundle, None, "key", 0.0).plan, 0.0).plan


def tried(plan: Plan, bundle: str, share: float = 0.1) -> Plan:
    return switch(prepare(plan, bundle, share, "key", 0.0).plan, 0.0).plan


def test_a_bundle_is_in_force_once_every_replica_holds_it() -> None:
    plan = prepare(Plan(), A, None, "key", 0.0).plan
    assert plan.active == SHIPPED
    slow = [*replicas(BASE, A), Holder(role="variant-4", shipped=BASE, held=(BASE,))]
    assert advance(plan, slow, 5, 1.0) is None
    step = advance(plan, replicas(BASE, A), 5, 1.0)
    assert step is not None
    assert (step.plan.active, step.plan.previous, step.plan.preparing) == (A, SHIPPED, None)
    assert (step.actor, step.act, step.subject) == ("key", "bundle.activate", A)


def test_one_replica_that_cannot_load_it_ends_it_with_a_reason_and_nothing_changed() -> None:
    plan = prepare(Plan(), A, None, "key", 0.0).plan
    failing = Holder(role="variant-2", shipped=BASE, held=(BASE,), failed={A: "the weights are damaged"})
    step = advance(plan, [*replicas(BASE, A), failing], 5, 1.0)
    assert step is not None
    assert (step.plan.active, step.plan.preparing) == (SHIPPED, None)
    assert step.plan.problem == f"{A}: the variant-2 replica could not load it: the weights are damaged"


def test_a_replica_that_is_missing_is_waited_for_and_then_named() -> None:
    plan = prepare(Plan(), A, None, "key", 0.0).plan
    there = [holder for holder in replicas(BASE, A) if holder.role != "variant-3"]
    assert advance(plan, there, 5, PREPARE_S) is None
    step = advance(plan, there, 5, PREPARE_S + 1)
    assert step is not None
    assert "replicas of: variant-3" in step.plan.problem


def test_where_nothing_runs_nothing_is_waited_for() -> None:
    step = advance(prepare(Plan(), A, None, "key", 0.0).plan, [], 5, 0.0)
    assert step is not None
    assert step.plan.active == A


def test_the_shipped_bundle_is_known_by_its_name() -> None:
    plan = prepare(activated(Plan(), A), SHIPPED, None, "key", 0.0).plan
    step = advance(plan, replicas(BASE, A), 5, 1.0)
    assert step is not None
    assert step.plan.active == SHIPPED


def test_a_rollback_undoes_the_latest_step() -> None:
    plan = activated(activated(Plan(), A), B)
    preparing = prepare(plan, C, None, "key", 0.0).plan
    assert roll_back(preparing, "key", 0.0).plan.preparing is None
    trying = tried(plan, C)
    ended = roll_back(trying, "key", 0.0).plan
    assert (ended.canary, ended.active, ended.leaving) == (None, B, C)  # stragglers may still name it
    back = roll_back(ended, "key", 0.0).plan
    assert back.preparing is not None
    assert switch(back, 0.0).plan.active == A
    with pytest.raises(Invalid, match="no bundle to go back to"):
        roll_back(Plan(), "key", 0.0)


def test_one_step_at_a_time() -> None:
    with pytest.raises(Invalid, match="being prepared"):
        prepare(prepare(Plan(), A, None, "key", 0.0).plan, B, None, "key", 0.0)
    with pytest.raises(Invalid, match="is on trial"):
        prepare(tried(Plan(), A), B, None, "key", 0.0)
    with pytest.raises(Invalid, match="is on trial"):
        prepare(tried(Plan(), A), A, 0.2, "key", 0.0)
    with pytest.raises(Invalid, match="in force already"):
        prepare(activated(Plan(), A), A, None, "key", 0.0)


def test_a_bundle_on_trial_is_promoted_by_putting_it_in_force() -> None:
    plan = activated(tried(Plan(), A), A)
    assert (plan.active, plan.canary, plan.previous) == (A, None, SHIPPED)


@given(st.lists(st.sampled_from(["activate a", "activate b", "try a", "try b", "back"]), max_size=12))
def test_what_cameras_were_told_last_is_always_held(acts: list[str]) -> None:
    """Of two bundles that replicas hold, one is in force; the other is on trial, being prepared, or the one
    that cameras leave: so no camera that heard of the last step is refused."""
    plan = Plan()
    for act in acts:
        told = {plan.active} | ({plan.canary.bundle} if plan.canary else set())
        kind, _, name = act.partition(" ")
        bundle = {"a": A, "b": B}.get(name, "")
        try:
            if kind == "back":
                step = roll_back(plan, "key", 0.0)
            else:
                step = prepare(plan, bundle, 0.1 if kind == "try" else None, "key", 0.0)
        except Invalid:
            continue
        if step.plan.preparing is not None:
            assert {step.plan.active, step.plan.preparing.bundle} <= set(step.plan.wanted(2))
            step = switch(step.plan, 0.0)
        plan = step.plan
        assert len(plan.wanted(2)) <= 2
        if plan.canary is None:
            assert told <= set(plan.wanted(2)) | {plan.active} or len(told | {plan.active}) > 2


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.5]))
def test_a_trial_takes_the_same_cameras_each_time_in_about_its_share(first: int, share: float) -> None:
    canary = Canary(bundle=A, share=share, trial=1, began_at=0.0)
    cameras = [f"camera-{number}" for number in range(first, first + 400)]
    taken = [camera for camera in cameras if canary.takes(camera)]
    assert taken == [camera for camera in cameras if canary.takes(camera)]
    assert abs(len(taken) / 400 - share) < 0.12
    more = Canary(bundle=A, share=0.5, trial=2, began_at=1.0)
    assert all(more.takes(camera) for camera in taken)  # a larger share keeps those that it had
