"""The ingress deployment: replicas that serve the interface and hold no state that matters."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.bundle import Bundle
from configs.rates import load_rates
from configs.settings import Settings
from serving.alerts.watch import Watch
from serving.bundles.readiness import Readiness
from serving.bundles.rollout import Rollout
from serving.bundles.served import ServedBundles
from serving.ingress.api import build_api
from serving.ingress.audits import Auditor
from serving.ingress.dispatch import Dispatcher
from serving.ingress.inference import Inference
from serving.ingress.places import Places
from serving.ingress.segments import SegmentService
from serving.ingress.services import Services
from serving.keys import Keyring, ensure_demo_key
from serving.options import ServingOptions
from serving.problems import StateUnavailable
from serving.quota import Quotas
from serving.state.store import StateStore
from serving.telemetry.instruments import RayInstruments
from serving.telemetry.promises import PromiseTelemetry
from serving.telemetry.pulse import Pulse
from serving.telemetry.segments import SegmentTelemetry
from serving.telemetry.tenants import TenantLabels
from serving.tenant_cache import TenantCache

LOAD_EVERY_S = 2.0

logger = logging.getLogger("ray.serve")


class IngressReplica:
    """Replicas of the ingress; any of them can go at any time."""

    def __init__(
        self,
        bundle_directory: Path,
        settings: Settings,
        options: ServingOptions,
        variants: Sequence[DeploymentHandle[Any]],
        encoder: DeploymentHandle[Any],
        database: DeploymentHandle[Any] | None,
    ) -> None:
        self._bundles, self._settings = ServedBundles(Bundle.load(bundle_directory), settings), settings
        self._bundles.holder.start()
        self._options, self._rates = options, load_rates(settings.rates_file)
        self._variants, self._encoder, self._database = variants, encoder, database
        self._starting: asyncio.Task[Services] | None = None
        self._background: tuple[asyncio.Task[None], ...] = ()

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(self.services)

    async def _start(self) -> Services:
        """Connects to the state store; runs once, in the event loop that serves requests."""
        url = self._settings.redis_url or (await self._database.url.remote() if self._database else "")
        store = StateStore.of(self._settings, url)
        quotas = Quotas(store.tenants, self._options.limits)
        inference = Inference(self._variants, self._encoder)
        dispatcher = Dispatcher(self._options.admission)
        instruments = RayInstruments()
        labels = TenantLabels(store.tenants, self._options.telemetry.tenants)
        telemetry = SegmentTelemetry(instruments, labels)
        audits = self._options.audits
        auditor = Auditor(
            audits, self._bundles, store.audits, store.bundles, inference, dispatcher, telemetry
        )
        kept = self._options.retention
        retention = TenantCache(lambda tenant: store.results.retention(tenant, kept), kept)
        segments = SegmentService(
            self._bundles, self._settings, store, quotas, inference, dispatcher, auditor, telemetry, retention
        )
        if not self._settings.redis_cluster:  # what older versions left, which knew no clusters
            await store.keys.take_over()
        await ensure_demo_key(store, self._settings.key_file)
        promises = PromiseTelemetry(instruments, labels, audits.confidence)
        watch = Watch(store, self._options.limits, audits, self._options.alerts, promises)
        self._background = (
            asyncio.create_task(watch.run()),
            asyncio.create_task(Pulse(instruments, dispatcher, store).run()),
            asyncio.create_task(_tell_load(store, dispatcher)),
            asyncio.create_task(Rollout(store.bundles, self._bundles, self._options.canary).run()),
        )
        return Services(
            self._bundles,
            Readiness(store.bundles, self._bundles),
            self._settings,
            self._options,
            self._rates,
            store,
            Keyring(store),
            quotas,
            segments,
            auditor,
            telemetry,
            retention,
            Places(self._options.connections.listeners),
            Places(self._options.connections.uploads),
        )

    async def services(self) -> Services:
        """What the routes work with. Raises `StateUnavailable` until the store was reached once."""
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def check_health(self) -> None:
        """Serve calls this at the start and every few seconds: it connects as soon as the store is there.
        A store that is away makes answers refusals; it does not make this replica unhealthy."""
        try:
            await self.services()
        except StateUnavailable as problem:
            logger.warning("Not ready yet: %s", problem.detail)

    def __del__(self) -> None:
        self._bundles.holder.stop()


async def _tell_load(store: StateStore, dispatcher: Dispatcher) -> None:
    """Has others know how this replica stands."""
    me = secrets.token_urlsafe(6)
    while True:
        with suppress(StateUnavailable):
            await store.live.tell(me, dispatcher.load)
        await asyncio.sleep(LOAD_EVERY_S)


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
IngressDeployment = serve.deployment()(serve.ingress()(IngressReplica))
