"""Drives a switch from an ingress replica: once all replicas are ready it is done, and a bad trial is undone.

Every ingress replica does so once a second; the plan's revision lets exactly one of them succeed.
"""

from __future__ import annotations

import asyncio
import logging
import time

from serving.bundles.evidence import CanaryOptions, Evidence
from serving.bundles.served import ServedBundles
from serving.bundles.switching import advance, give_up, roll_back
from serving.problems import StateUnavailable
from serving.state.bundles import BundleStore

STEP_S = 1.0
JUDGE = "server:canary"
"""Who takes a bad trial back, as the operators' log has it."""

logger = logging.getLogger("ray.serve")


class Rollout:
    """One instance an ingress replica."""

    def __init__(self, store: BundleStore, bundles: ServedBundles, options: CanaryOptions) -> None:
        self._store, self._bundles, self._options = store, bundles, options
        self._trial, self._evidence = 0, Evidence(options)

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except StateUnavailable:
                pass  # said elsewhere; the next step tries again
            except Exception:
                logger.exception("Bundles cannot be switched.")
            await asyncio.sleep(STEP_S)

    async def step(self) -> None:
        """Looks once. Raises `StateUnavailable`."""
        seen = self._bundles.plan  # a second old at most, and nothing to do is usual
        if seen.preparing is not None:
            await self._advance()
        elif seen.canary is not None:
            await self._judge()

    async def _advance(self) -> None:
        plan = await self._store.plan()
        if plan.preparing is None:
            return
        bundle = self._bundles.holder.get(self._bundles.holder.resolve(plan.preparing.bundle))
        if bundle is None:  # this replica itself still has to load it, or could not
            count = 0
        else:
            count = len(bundle.manifest.variants)
            unlike = bundle.manifest.classes != self._bundles.in_force.manifest.classes
            if plan.preparing.share is not None and unlike:
                reason = "it has other classes than what is in force, so no trial of it can be judged"
                await self._store.turn(give_up(plan, plan.preparing.by, reason))
                return
        holders = await self._store.holders()
        if holders:
            step = advance(plan, holders, count, time.time())
            if step is not None:
                await self._store.turn(step)

    async def _judge(self) -> None:
        plan = await self._store.plan()
        if plan.canary is None:
            return
        if plan.canary.trial != self._trial:
            self._trial, self._evidence = plan.canary.trial, Evidence(self._options)
        self._evidence.add(await self._store.verdicts(self._trial, self._evidence.taken))
        if self._evidence.worse and plan.preparing is None:
            reason = self._evidence.told()
            if await self._store.turn(roll_back(plan, JUDGE, time.time(), reason)):
                logger.warning("Bundle %s was taken back: %s.", plan.canary.bundle, reason)
