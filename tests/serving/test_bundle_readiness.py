"""Cameras are let in once every deployment could segment for them."""

from __future__ import annotations

import pytest

from clients.rollout import Holder
from configs.bundle import Bundle
from configs.settings import Settings
from serving.bundles.readiness import Readiness
from serving.bundles.served import ServedBundles
from serving.bundles.switching import needed_roles
from serving.problems import NotReady
from serving.state.store import StateStore


async def test_it_is_ready_once_all_hold_the_bundle_in_force_and_stays_so(store: StateStore) -> None:
    shipped = Bundle.load()
    bundles = ServedBundles(shipped, Settings())
    bundles.holder.hold_shipped()
    readiness = Readiness(store.bundles, bundles)
    roles = needed_roles(len(shipped.manifest.variants))
    held = {role: Holder(role=role, shipped=shipped.id, held=(shipped.id,)) for role in roles}
    for role in roles:
        await store.bundles.forget_holder(role)
    held["variant-3"] = Holder(role="variant-3", shipped=shipped.id)  # there, and still loading
    for role, holder in held.items():
        if role != "encoder":
            await store.bundles.tell(role, holder)
    with pytest.raises(NotReady, match=r"not held yet by: encoder, variant-3\."):
        await readiness.check()
    await store.bundles.tell("encoder", held["encoder"])
    with pytest.raises(NotReady, match=r"not held yet by: variant-3\."):
        await readiness.check()
    await store.bundles.tell("variant-3", Holder(role="variant-3", shipped=shipped.id, held=(shipped.id,)))
    await readiness.check()
    for role in roles:
        await store.bundles.forget_holder(role)
    await readiness.check()
