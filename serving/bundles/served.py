"""The bundles that an ingress replica serves: which a segment may name, and which its camera is to take."""

from __future__ import annotations

from clients.rollout import Plan
from configs.bundle import Bundle
from configs.settings import Settings
from serving.bundles.holder import BundleHolder
from serving.problems import WrongBundle


class ServedBundles:
    """What the plan means here. It is a second old at most, and looking costs nothing."""

    def __init__(self, shipped: Bundle, settings: Settings) -> None:
        self.holder: BundleHolder[Bundle] = BundleHolder("ingress", shipped, settings, lambda bundle: bundle)

    @property
    def plan(self) -> Plan:
        return self.holder.plan

    @property
    def key(self) -> str | None:
        """The key that signs bundles; None before the database was reached."""
        return self.holder.key or None

    @property
    def in_force(self) -> Bundle:
        """What cameras go by that are not on trial."""
        return self._held(self._active)

    def for_camera(self, camera: str) -> Bundle:
        """What a camera is to go by."""
        return self._held(self.holder.resolve(self.plan.bundle_for(camera)))

    def on_trial(self, bundle: Bundle) -> bool:
        canary = self.plan.canary
        return canary is not None and bundle.id == self.holder.resolve(canary.bundle)

    def named(self, bundle: str) -> Bundle:
        """The bundle that a segment names. Raises `WrongBundle` where it is not held, or is none any more."""
        usable = bundle in self.holder.wanted or self.holder.get(self._active) is None
        found = self.holder.get(bundle) if usable else None
        if found is None:
            raise WrongBundle(
                f"Bundle {bundle} is not held here any more; {self.in_force.id} is in force. Register again, "
                "fetch it with GET /v1/bundle, and make the segment anew under the same number."
            )
        return found

    def follow(self, camera: str, bundle: str) -> str | None:
        """The bundle that a camera is to change to from the one that it named; None where it stays. While a
        bundle is prepared, whoever names it has heard of the switch before this replica."""
        preparing = self.plan.preparing
        if preparing is not None and bundle == self.holder.resolve(preparing.bundle):
            return None
        wanted = self.holder.resolve(self.plan.bundle_for(camera))
        return wanted if wanted != bundle and self.holder.get(wanted) is not None else None

    @property
    def _active(self) -> str:
        return self.holder.resolve(self.plan.active)

    def _held(self, bundle: str) -> Bundle:
        """One that the plan names, or what is held in its place while it cannot be had."""
        names = (bundle, self._active, self.holder.shipped.id)
        return next((held for name in names if (held := self.holder.get(name))), self.holder.shipped)
