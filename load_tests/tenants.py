"""Tenants for load, made offline as `penance-admin` makes them."""

from __future__ import annotations

import uuid

from clients.administration import LimitsPatch, NewKey
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.application import RunningApplication
from serving.admin.administrator import Administrator
from serving.options import load_options
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore

UNLIMITED = LimitsPatch(cameras=100_000, segments_per_s=1e6, gflops_per_s=1e9, bytes_per_s=1e12)
"""No quotas: what is measured is what the queue does."""


async def new_tenant(
    application: RunningApplication, limits: LimitsPatch = UNLIMITED, tenant: str | None = None
) -> str:
    """A key of a new tenant with these limits."""
    settings = Settings()
    store = StateStore(EmbeddedServer(application.state_directory).url, answers_kept=8, lease_s=1)
    options, rates = load_options(settings.serving_file), load_rates(settings.rates_file)
    administrator = Administrator(store, options, rates, "offline:load")
    tenant = tenant or f"load-{uuid.uuid4().hex}"
    try:
        key = (await administrator.create(NewKey(tenant=tenant))).key
        await administrator.limits(tenant, limits)
    finally:
        await store.close()
    return key
