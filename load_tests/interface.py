"""The interface over real HTTP and a real database, without deployments behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from configs.bundle import Bundle
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.application import free_port
from load_tests.recorded import segment_telemetry
from serving.bundles.readiness import Readiness
from serving.bundles.served import ServedBundles
from serving.ingress.api import build_api
from serving.ingress.audits import Auditor
from serving.ingress.dispatch import Dispatcher
from serving.ingress.inference import Inference
from serving.ingress.places import Places
from serving.ingress.segments import SegmentService
from serving.ingress.services import Services
from serving.keys import Keyring
from serving.options import load_options
from serving.quota import Quotas
from serving.state.store import StateStore
from serving.tenant_cache import TenantCache


def services_at(url: str) -> Services:
    """What an ingress replica has; no segment may get as far as the deployments."""
    own = Settings()
    options, store = load_options(own.serving_file), StateStore(url, own.answers_kept, own.lease_s)
    quotas, dispatcher = Quotas(store.tenants, options.limits), Dispatcher(options.admission)
    inference = Inference((), None)  # type: ignore[arg-type]
    telemetry = segment_telemetry(store)
    bundles = ServedBundles(Bundle.load(), own)
    bundles.holder.hold_shipped()
    auditor = Auditor(options.audits, bundles, store.audits, store.bundles, inference, dispatcher, telemetry)
    retention = TenantCache(
        lambda tenant: store.results.retention(tenant, options.retention), options.retention
    )
    return Services(
        bundles,
        Readiness(store.bundles, bundles),
        own,
        options,
        load_rates(own.rates_file),
        store,
        Keyring(store),
        quotas,
        SegmentService(bundles, own, store, quotas, inference, dispatcher, auditor, telemetry, retention),
        auditor,
        telemetry,
        retention,
        Places(options.connections.listeners),
        Places(options.connections.uploads),
    )


@contextmanager
def served(database: str) -> Iterator[str]:
    """The address of one replica's interface, served by one event loop in a thread."""
    made: list[Services] = []

    async def services() -> Services:
        if not made:
            made.append(services_at(database))
        return made[0]

    port = free_port()
    config = uvicorn.Config(
        build_api(services), port=port, log_level="error", timeout_graceful_shutdown=1, ws="websockets-sansio"
    )
    serving = uvicorn.Server(config)
    thread = threading.Thread(target=serving.run)
    thread.start()
    while not serving.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    serving.should_exit = True
    thread.join()
