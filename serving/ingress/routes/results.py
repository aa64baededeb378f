"""Results out: what cameras were answered, as server-sent events, and for how long it can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from clients.protocol import MAX_SEQ, MaskMode
from clients.results import EVENT_ID_PATTERN, EVENTS_TYPE, Result, Retention, RetentionPatch
from serving.ingress.query import CameraId, MapsQuery, TenantPath
from serving.ingress.results import Feed, overlapping
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import (
    CameraPrincipal,
    Services,
    ThePrincipal,
    TheServices,
    administrator_for,
    camera_principal,
    principal_of,
)
from serving.problems import Invalid, NotFound

router = APIRouter(tags=["results"])

EVENTS: dict[int | str, dict[str, Any]] = {200: {"model": Result, "content": {EVENTS_TYPE: {}}}}
AfterSeqQuery = Annotated[
    int | None,
    Query(
        ge=-1, le=MAX_SEQ, description="the last segment that the reader has; -1: none, send all that is held"
    ),
]
LastSeqHeader = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=MAX_SEQ)]
AfterIdQuery = Annotated[
    str | None,
    Query(
        pattern=EVENT_ID_PATTERN,
        description="id of the last event that the reader has; 0-0: send all that is held",
    ),
]
LastIdHeader = Annotated[str | None, Header(alias="Last-Event-ID", pattern=EVENT_ID_PATTERN)]


async def _place(principal: ThePrincipal, services: TheServices) -> AsyncIterator[None]:
    with services.listeners.hold(principal.tenant):
        yield


ListenersPlace = Annotated[None, Depends(_place)]
"""A reader's place among those of its replica, for as long as it reads."""


@router.get(
    "/v1/clients/{camera}/results",
    summary="A camera's results as they come",
    response_class=StreamingResponse,
    response_model=None,
    responses=refusals(404, 422) | EVENTS,
)
async def camera_results(
    request: Request,
    camera: CameraId,
    principal: CameraPrincipal,
    services: TheServices,
    _: ListenersPlace,
    masks: MapsQuery = "none",
    after: AfterSeqQuery = None,
    last_event_id: LastSeqHeader = None,
) -> StreamingResponse:
    """Server-sent events, each accepted segment once, its seq as the event's id. A reader that comes back
    with `Last-Event-ID` gets all that it missed within the window, or a `gap` event first."""
    await _require_maps(services, principal.tenant, masks)
    place = await services.store.results.place(camera, after if last_event_id is None else last_event_id)

    async def cameras() -> Sequence[str]:
        return [camera]

    async def check() -> None:
        await camera_principal(camera, await principal_of(request, services), services)

    feed = Feed(
        services,
        principal.tenant,
        masks,
        cameras,
        check,
    )
    return _events(feed.of_camera(place))


@router.get(
    "/v1/results",
    summary="Results of all cameras as they come",
    response_class=StreamingResponse,
    response_model=None,
    responses=refusals(403, 404, 422) | EVENTS,
)
async def tenant_results(
    request: Request,
    principal: ThePrincipal,
    services: TheServices,
    _: ListenersPlace,
    masks: MapsQuery = "none",
    after: AfterIdQuery = None,
    last_event_id: LastIdHeader = None,
) -> StreamingResponse:
    """Server-sent events, each accepted segment at least once: after a reconnection what came in the last two
    seconds before comes again, so go by camera and seq. Cameras that are registered later are among them."""
    if principal.scope == "operator":
        raise NotFound("An operator's key reaches no tenant's results. Use the tenant's key.")
    principal.require_insight(principal.tenant)
    await _require_maps(services, principal.tenant, masks)
    last = last_event_id or after
    start = await services.store.results.now() if last is None else overlapping(last)

    async def cameras() -> Sequence[str]:
        return await services.store.tenants.cameras(principal.tenant)

    async def check() -> None:
        (await principal_of(request, services)).require_insight(principal.tenant)

    feed = Feed(services, principal.tenant, masks, cameras, check)
    return _events(feed.of_tenant(start))


@router.get(
    "/v1/tenants/{tenant}/retention",
    summary="What a tenant's results leave behind",
    responses=refusals(403, 404, 422),
)
async def retention(tenant: TenantPath, principal: ThePrincipal, services: TheServices) -> Retention:
    principal.require_insight(tenant)
    return await services.store.results.retention(tenant, services.options.retention)


@router.patch(
    "/v1/tenants/{tenant}/retention",
    summary="Set what results leave behind",
    responses=refusals(403, 404, 413, 422),
)
async def set_retention(
    tenant: TenantPath, principal: ThePrincipal, services: TheServices, patch: RetentionPatch
) -> Retention:
    """Only what is given changes, everywhere within 10 s; null is the default again. It is logged."""
    principal.require_control(tenant)
    return await administrator_for(principal, services).retention(tenant, patch)


async def _require_maps(services: Services, tenant: str, masks: MaskMode) -> None:
    """Raises `Invalid` where label maps are asked for that are not kept."""
    if masks != "none" and (await services.retention.get(tenant)).label_maps == "none":
        raise Invalid(
            f"This tenant keeps no label maps. Leave masks={masks} out, or have them kept with "
            f"PATCH /v1/tenants/{tenant}/retention."
        )


def _events(events: AsyncIterator[bytes]) -> StreamingResponse:
    # proxies that buffer would hold events back
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type=EVENTS_TYPE, headers=headers)
