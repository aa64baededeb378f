"""How a tenant's cameras and the platform stand: one answer for the page at `/`."""

from __future__ import annotations

import time

from fastapi import APIRouter

from clients.live import CameraLive, LiveView, PlatformLoad
from clients.palette import palette
from serving.ingress.admission import BrownOut
from serving.ingress.routes.cameras import ladder_entries
from serving.ingress.routes.promise import promise_status
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import ThePrincipal, TheServices
from serving.problems import NotFound
from serving.promise import AuditOptions
from serving.state.live import CameraStanding, ReplicaLoad

router = APIRouter(tags=["results"])


@router.get("/v1/live", summary="How cameras stand just now", responses=refusals(403, 404))
async def live(principal: ThePrincipal, services: TheServices) -> LiveView:
    """A tenant's cameras with their certified promises, its open alerts, and the platform's load."""
    if principal.scope == "operator":
        raise NotFound("An operator's key reaches no tenant's cameras. Use the tenant's key.")
    tenant = principal.tenant
    principal.require_insight(tenant)
    store, audits, bundle = services.store, services.options.audits, services.bundles.in_force
    classes = bundle.manifest.classes
    standings = await store.live.cameras(await store.tenants.camera_names(tenant))
    limits = await services.quotas.limits(tenant)
    alerts = await store.alerts.open_alerts(tenant)
    counted = [standing.audits for standing in standings if standing.audits is not None]
    return LiveView(
        at=time.time(),
        tenant=tenant,
        scope=principal.scope,
        bundle=bundle.id,
        classes=classes,
        colours=tuple(f"#{bytes(rgb).hex()}" for rgb in palette(classes)[: len(classes)]),
        ladder=ladder_entries(bundle),
        failure_rate=limits.failure_rate,
        silent_after_s=limits.silent_after_s,
        promise=promise_status(counted, audits.share, audits.confidence),
        retention=await services.retention.get(tenant),
        cameras=tuple(camera_live(standing, audits) for standing in standings),
        alerts=tuple(sorted(alerts.values(), key=lambda alert: alert.opened_at)),
        load=platform_load(await store.live.loads()),
    )


def camera_live(standing: CameraStanding, audits: AuditOptions) -> CameraLive:
    counted = [] if standing.audits is None else [standing.audits]
    last = standing.number("last_configuration")
    return CameraLive(
        id=standing.id,
        name=standing.name,
        target_miou=standing.number("target_miou") or 0.0,
        segments=int(standing.number("segments") or 0),
        dropped=int(standing.number("dropped") or 0),
        last_at=standing.number("last_at"),
        last_configuration=None if last is None else int(last),
        cost_total=standing.number("cost_total") or 0.0,
        cost_average=standing.number("cost_average"),
        deficit_average=standing.number("deficit_average"),
        overuse_average=standing.number("overuse_average"),
        promise=promise_status(counted, audits.share, audits.confidence),
    )


def platform_load(loads: list[ReplicaLoad]) -> PlatformLoad:
    """All replicas together; the one under the most pressure says what is left out."""
    level = BrownOut(max((load.level for load in loads), default=0))
    return PlatformLoad(
        replicas=len(loads),
        lanes=sum(load.lanes for load in loads),
        running=sum(load.running for load in loads),
        waiting=sum(load.waiting for load in loads),
        backlog_s=max((load.backlog_s for load in loads), default=0.0),
        left_out=level.name.lower().replace("_", "-"),
    )
