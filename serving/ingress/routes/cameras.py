"""Cameras: registering, reading, changing and forgetting them."""

from __future__ import annotations

import secrets

from fastapi import APIRouter

from clients.protocol import (
    CameraLimits,
    CameraName,
    CameraPage,
    CameraPatch,
    CameraStatus,
    LadderEntry,
    Registered,
    Registration,
)
from configs.bundle import Bundle
from serving.ingress.query import AfterNameQuery, CameraId, LimitQuery, NameQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import NO_CAMERA, CameraPrincipal, Services, ThePrincipal, TheServices
from serving.keys import Principal
from serving.problems import Invalid, NotFound

router = APIRouter(tags=["cameras"])


@router.post(
    "/v1/clients", status_code=201, summary="Register a camera", responses=refusals(403, 404, 413, 422, 429)
)
async def register(principal: ThePrincipal, services: TheServices, registration: Registration) -> Registered:
    """The same name again updates the camera, returns the same id and a new token for it."""
    principal.require_tenant_key()
    store = services.store
    most = (await services.quotas.limits(principal.tenant)).cameras
    camera = await store.register(principal.tenant, secrets.token_urlsafe(12), registration, most)
    token = await services.keyring.issue(Principal(principal.tenant, "camera", camera))
    await store.keys.record(principal.tenant, principal.key_id, "camera.register", camera)
    status = await store.status(camera)
    if status is None:
        raise NotFound("The camera was deleted while it was being registered. Register it again.")
    bundle = services.bundles.for_camera(camera)
    return Registered(
        id=camera,
        token=token,
        target_miou=status.target_miou,
        next_seq=status.next_seq,
        bundle=bundle.id,
        classes=bundle.manifest.classes,
        ladder=ladder_entries(bundle),
        codec=bundle.manifest.codec,
        signing_key=services.bundles.key,
    )


@router.get("/v1/clients", summary="List cameras", responses=refusals(403, 404, 422))
async def list_cameras(
    principal: ThePrincipal,
    services: TheServices,
    name: NameQuery = None,
    after: AfterNameQuery = "",
    limit: LimitQuery = 100,
) -> CameraPage:
    """The tenant's cameras, in the order of their names."""
    if principal.scope == "operator":
        raise NotFound("An operator's key reaches no tenant's cameras. Use the tenant's key.")
    principal.require_insight(principal.tenant)
    held = await services.store.tenants.camera_names(principal.tenant)
    names = sorted(known for known in held if known > after and name in (None, known))
    cameras = tuple(CameraName(id=held[known], name=known) for known in names[:limit])
    return CameraPage(cameras=cameras, next=names[limit - 1] if len(names) > limit else None)


@router.get("/v1/clients/{camera}", summary="A camera's state", responses=refusals(404))
async def status(camera: CameraId, _: CameraPrincipal, services: TheServices) -> CameraStatus:
    return await _status(services, camera)


@router.patch("/v1/clients/{camera}", summary="Change a camera", responses=refusals(403, 404, 422))
async def patch(
    camera: CameraId, principal: CameraPrincipal, services: TheServices, patch: CameraPatch
) -> CameraStatus:
    """Needs the tenant's key. The camera follows a new target with its next answer; limits of its own hold
    from its next segment on, beside its tenant's."""
    principal.require_tenant_key()
    if patch.limits is not None:
        await _check_limits(services, principal.tenant, patch.limits)
    changes = patch.model_dump_json(exclude_unset=True)
    await services.store.keys.record(principal.tenant, principal.key_id, "camera.patch", camera, changes)
    await services.store.patch(camera, patch)
    return await _status(services, camera)


@router.delete(
    "/v1/clients/{camera}", status_code=204, summary="Forget a camera", responses=refusals(403, 404)
)
async def delete(camera: CameraId, principal: CameraPrincipal, services: TheServices) -> None:
    principal.require_tenant_key()
    await services.store.keys.record(principal.tenant, principal.key_id, "camera.delete", camera)
    await services.store.delete(principal.tenant, camera)


async def _check_limits(services: Services, tenant: str, limits: CameraLimits) -> None:
    """Raises `Invalid` for a limit that could never bind: one above the tenant's own."""
    most = await services.store.tenants.limits(tenant, services.options.limits)
    for name, rate in limits.model_dump(exclude_none=True).items():
        if rate > getattr(most, name):
            raise Invalid(
                f"limits.{name}: {rate:g} is more than this tenant may use in all, {getattr(most, name):g}. "
                "Give less, or null for no limit of the camera's own."
            )


def ladder_entries(bundle: Bundle) -> tuple[LadderEntry, ...]:
    """The bundle's ladder as the protocol has it."""
    return tuple(
        LadderEntry(configuration=c.index, scale=c.scale, qp=c.qp, variant=c.variant, cost=cost)
        for c, cost in zip(bundle.ladder.rungs(), bundle.costs, strict=True)
    )


async def _status(services: Services, camera: str) -> CameraStatus:
    status = await services.store.status(camera)
    if status is None:
        raise NotFound(NO_CAMERA)
    return status
