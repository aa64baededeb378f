"""From one plan to the next, as pure functions: prepare everywhere, then switch one field.

A bundle is first loaded by every replica beside what is in force, and only then named by the plan. So no
replica that can be reached lacks a bundle that a camera is told to go by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from clients.rollout import SHIPPED, Canary, Holder, Plan, Preparing
from serving.problems import Invalid

PREPARE_S = 900.0
"""After so long without all replicas having loaded it, a bundle is given up: five networks that load beside
full load on two cores take minutes."""


class Step(NamedTuple):
    """The next plan, and the act that made it, as the operators' log has it."""

    plan: Plan
    actor: str
    act: str
    subject: str
    detail: str


def prepare(plan: Plan, bundle: str, share: float | None, actor: str, now: float) -> Step:
    """Has replicas load a bundle, to put it in force or, with a share, on trial. Raises `Invalid`."""
    if plan.preparing is not None:
        raise Invalid(
            f"Bundle {plan.preparing.bundle} is being prepared. Wait for it, or end that with bundle "
            "rollback."
        )
    if bundle == plan.active:
        raise Invalid(f"Bundle {bundle} is in force already. Name another.")
    on_trial = plan.canary is not None and plan.canary.bundle == bundle
    if plan.canary is not None and (share is not None or not on_trial):
        raise Invalid(
            f"Bundle {plan.canary.bundle} is on trial. Put it in force with bundle activate, or take it back "
            "with bundle rollback, before another comes."
        )
    changes = {"preparing": Preparing(bundle=bundle, share=share, by=actor, at=now), "problem": ""}
    detail = "to put it in force" if share is None else f"for a trial with {share:g} of the cameras"
    return Step(plan.model_copy(update=changes), actor, "bundle.prepare", bundle, detail)


def roll_back(plan: Plan, actor: str, now: float, reason: str = "") -> Step:
    """Undoes the latest step: a preparation, a trial, or what is in force. Raises `Invalid`."""
    if plan.preparing is not None:
        return give_up(plan, actor, reason or "taken back while it was prepared")
    if plan.canary is not None:
        changes = {"canary": None, "leaving": plan.canary.bundle, "problem": reason}
        detail = reason or "the trial was ended"
        return Step(plan.model_copy(update=changes), actor, "bundle.rollback", plan.canary.bundle, detail)
    if plan.previous is None:
        raise Invalid("There is no bundle to go back to. Put one in force with bundle activate ID.")
    return prepare(plan, plan.previous, None, actor, now)


def give_up(plan: Plan, actor: str, reason: str) -> Step:
    """Ends a preparation; nothing else changes."""
    assert plan.preparing is not None
    changes = {"preparing": None, "problem": f"{plan.preparing.bundle}: {reason}"}
    return Step(plan.model_copy(update=changes), actor, "bundle.refuse", plan.preparing.bundle, reason)


def switch(plan: Plan, now: float) -> Step:
    """Names what was prepared: in force, or on trial."""
    ready = plan.preparing
    assert ready is not None
    if ready.share is None:
        changes = {"preparing": None, "active": ready.bundle, "canary": None}
        changes |= {"previous": plan.active, "leaving": plan.active}
        detail = f"in place of {plan.active}"
        return Step(plan.model_copy(update=changes), ready.by, "bundle.activate", ready.bundle, detail)
    canary = Canary(bundle=ready.bundle, share=ready.share, trial=plan.revision + 1, began_at=now)
    detail = f"{ready.share:g} of the cameras"
    tried = plan.model_copy(update={"preparing": None, "canary": canary})
    return Step(tried, ready.by, "bundle.canary", ready.bundle, detail)


def advance(plan: Plan, holders: Sequence[Holder], variants: int, now: float) -> Step | None:
    """What to do about a preparation, by what replicas say of themselves; None: wait.

    `variants` is how many the bundle has. Where no replica is there at all, none has to load anything: those
    that start later begin with what the plan says.
    """
    ready = plan.preparing
    assert ready is not None
    for holder in holders:
        if fault := holder.failed.get(ready.bundle):
            return give_up(plan, ready.by, f"the {holder.role} replica could not load it: {fault}")
    if not holders:
        return switch(plan, now)
    lacking = {holder.role for holder in holders if not holds(holder, ready.bundle)}
    lacking |= needed_roles(variants) - {holder.role for holder in holders}
    if not lacking:
        return switch(plan, now)
    if now - ready.at > PREPARE_S:
        names = ", ".join(sorted(lacking))
        return give_up(plan, ready.by, f"not loaded within {PREPARE_S:g} s by replicas of: {names}")
    return None


def holds(holder: Holder, bundle: str) -> bool:
    return (holder.shipped if bundle == SHIPPED else bundle) in holder.held


def needed_roles(variants: int) -> set[str]:
    """The roles of all deployments that a bundle with so many variants needs."""
    return {"ingress", "encoder", *(f"variant-{index}" for index in range(variants))}
