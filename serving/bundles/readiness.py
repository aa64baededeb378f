"""Whether the application can segment what it accepts: asked before cameras are let in."""

from __future__ import annotations

from serving.bundles.served import ServedBundles
from serving.bundles.switching import holds, needed_roles
from serving.problems import NotReady
from serving.state.bundles import BundleStore


class Readiness:
    """One instance an ingress replica. What has been ready once stays so: a replica that dies later is
    replaced while segments wait for it, which is no reason to take the whole ingress away."""

    def __init__(self, store: BundleStore, bundles: ServedBundles) -> None:
        self._store, self._bundles = store, bundles
        self._ready = False

    async def check(self) -> None:
        """Raises `NotReady` until every deployment has had a replica that holds the bundle in force, and
        `StateUnavailable`."""
        if self._ready:
            return
        bundle = self._bundles.in_force
        holding = {holder.role for holder in await self._store.holders() if holds(holder, bundle.id)}
        lacking = needed_roles(len(bundle.manifest.variants)) - holding
        if lacking:
            names = ", ".join(sorted(lacking))
            raise NotReady(f"Bundle {bundle.id} is being loaded; not held yet by: {names}.", 1)
        self._ready = True
