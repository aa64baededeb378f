"""What an operator does with bundles, for the ingress and for `penance-admin` without a server alike."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from clients.rollout import SHIPPED, BundleStanding, CanaryStanding, Holder, Plan, StoredBundle
from configs.bundle import MANIFEST, Bundle, BundleError
from configs.settings import Settings
from serving.bundles.archive import unpack
from serving.bundles.evidence import CanaryOptions, Evidence
from serving.bundles.switching import Step, prepare, roll_back, switch
from serving.problems import Invalid, NotFound, StateUnavailable, TooLarge
from serving.state.bundles import BundleStore

TRIES = 5


class BundleActs:
    """Acts in the name of `actor`; each is logged with what it changes."""

    def __init__(self, store: BundleStore, settings: Settings, options: CanaryOptions, actor: str) -> None:
        self._store, self._settings, self._options, self._actor = store, settings, options, actor

    async def standing(self) -> BundleStanding:
        """Everything there is to know."""
        plan = await self._store.plan()
        return BundleStanding(
            plan=plan,
            key=(await self._store.key()).public,
            stored=tuple(await self._store.stored()),
            replicas=tuple(await self._store.holders()),
            canary=await self._trial(plan),
        )

    async def push(self, archive: bytes) -> StoredBundle:
        """Verifies and signs an archive, and stores it. Raises `TooLarge` and `Invalid`."""
        most = self._settings.max_bundle_bytes
        if len(archive) > most:
            raise TooLarge(
                f"A bundle's archive may hold {most} bytes, this one has {len(archive)}. Leave out what is "
                "no part of it, or raise PENANCE_MAX_BUNDLE_BYTES."
            )
        bundle, manifest = await asyncio.to_thread(_verified, archive)
        held = await self._store.stored()
        if any(stored.id == bundle.id for stored in held):
            raise Invalid(f"Bundle {bundle.id} is in the store already. Activate it.")
        if len(held) >= self._settings.bundles_kept:
            raise Invalid(
                f"The store holds {len(held)} bundles, as many as it may. Remove one with bundle remove ID."
            )
        stored = StoredBundle(
            id=bundle.id,
            size=len(archive),
            sha256=hashlib.sha256(archive).hexdigest(),
            signature=(await self._store.key()).sign(manifest),
            pushed_at=time.time(),
            pushed_by=self._actor,
        )
        await self._store.put(stored, archive, self._actor)
        return stored

    async def activate(self, bundle: str) -> Plan:
        """Has all replicas load a bundle, which is then put in force. Raises `NotFound` and `Invalid`."""
        return await self._prepare(bundle, None)

    async def canary(self, bundle: str, share: float) -> Plan:
        """The same, but for a share of the cameras, on trial. Raises `NotFound` and `Invalid`."""
        return await self._prepare(bundle, share)

    async def roll_back(self) -> Plan:
        """Undoes the latest step. Raises `Invalid` where there is none."""

        async def step(plan: Plan) -> Step:
            back = roll_back(plan, self._actor, time.time())
            if back.plan.preparing is not None:
                await self._manifest(back.plan.preparing.bundle)
            return back

        return await self._turned(step)

    async def remove(self, bundle: str) -> None:
        """Takes a bundle out of the store. Raises `NotFound`, and `Invalid` where it is needed."""
        stored = await self._store.find(bundle)
        if stored is None:
            raise NotFound(f"The store holds no bundle {bundle}. List those there are with bundle list.")
        plan = await self._store.plan()
        on_trial, coming = plan.canary and plan.canary.bundle, plan.preparing and plan.preparing.bundle
        if bundle in (plan.active, plan.previous, on_trial, coming):
            raise Invalid(
                f"Bundle {bundle} is in force, on trial, or what a rollback goes back to. Put another in "
                "force."
            )
        if bundle == plan.leaving:  # cameras that still name it are told what to do
            left = plan.model_copy(update={"leaving": None})
            await self._store.turn(Step(left, self._actor, "bundle.leave", bundle, "before it is removed"))
        await self._store.remove(stored, self._actor)

    async def _prepare(self, name: str, share: float | None) -> Plan:
        holders = await self._store.holders()
        bundle = SHIPPED if name in {holder.shipped for holder in holders} else name
        manifest = await self._manifest(bundle)

        async def step(plan: Plan) -> Step:
            prepared = prepare(plan, bundle, share, self._actor, time.time())
            _check_roles(manifest, holders)
            if share is not None:
                await self._check_classes(manifest, plan)
            return prepared

        return await self._turned(step)

    async def _turned(self, step: Callable[[Plan], Awaitable[Step]]) -> Plan:
        """The plan after a step, which is made anew where another came in between."""
        for _ in range(TRIES):
            if (turned := await self._turn(await step(await self._store.plan()))) is not None:
                return turned
        raise StateUnavailable("The plan changes all the time. Try again.", 1)

    async def _turn(self, step: Step) -> Plan | None:
        """Puts a plan in place; where no replica is there to load anything, it is switched at once."""
        turned = await self._store.turn(step)
        if turned is None or turned.preparing is None or await self._store.holders():
            return turned
        return await self._store.turn(switch(turned, time.time())) or turned

    async def _manifest(self, bundle: str) -> Bundle | None:
        """A stored bundle; None for the shipped one, which only replicas have. Raises `NotFound`."""
        if bundle == SHIPPED:
            return None
        stored = await self._store.find(bundle)
        if stored is None:
            raise NotFound(
                f"The store holds no bundle {bundle}. Push it first: penance-admin bundle push DIR."
            )
        archive = await self._store.archive(stored)
        return (await asyncio.to_thread(_verified, archive))[0]

    async def _check_classes(self, bundle: Bundle | None, plan: Plan) -> None:
        """Raises `Invalid` for a trial that could not be judged: of other classes than what is in force."""
        active = await self._manifest(plan.active)
        if bundle is None or active is None:  # the shipped one is compared by replicas, which have it
            return
        if bundle.manifest.classes != active.manifest.classes:
            raise Invalid(
                f"Bundle {bundle.id} has other classes than {active.id}, so a trial could not be judged. Put "
                "it in force with bundle activate."
            )

    async def _trial(self, plan: Plan) -> CanaryStanding | None:
        if plan.canary is None:
            return None
        evidence = Evidence(self._options)
        evidence.add(await self._store.verdicts(plan.canary.trial, 0))
        return evidence.standing()


def _verified(archive: bytes) -> tuple[Bundle, bytes]:
    """An archive's bundle, of which the files are gone by now, and its manifest's bytes. Raises `Invalid`."""
    with tempfile.TemporaryDirectory(prefix="penance-bundle-") as folder:
        try:
            bundle = unpack(archive, Path(folder) / "bundle")
        except BundleError as error:
            raise Invalid(f"The bundle cannot be taken: {error}"[:2000]) from error
        return bundle, bundle.path(MANIFEST).read_bytes()


def _check_roles(bundle: Bundle | None, holders: list[Holder]) -> None:
    """Raises `Invalid` for a bundle with more variants than the application has deployments."""
    there = {holder.role for holder in holders if holder.role.startswith("variant-")}
    if bundle is None or not there or len(bundle.manifest.variants) <= len(there):
        return
    raise Invalid(
        f"Bundle {bundle.id} has {len(bundle.manifest.variants)} variants, this application has replicas for "
        f"{len(there)}. Start it with PENANCE_BUNDLE set to this bundle."
    )
