"""The certified promise of a tenant, and the audits that it stands on."""

from __future__ import annotations

from functools import reduce
from operator import add

from fastapi import APIRouter, Request

from clients.protocol import PromiseStatus
from serving.ingress.body import read_body
from serving.ingress.query import SEGMENT_BODY, BundleQuery, CameraId, SeqPath, TenantQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import CameraPrincipal, ThePrincipal, TheServices
from serving.ingress.upload import take_audit
from serving.problems import Invalid
from serving.promise import Audits, failure_rate_at_least, failure_rate_at_most

router = APIRouter(tags=["promise"])


def promise_status(audits: list[Audits], share: float, confidence: float) -> PromiseStatus:
    """What is certified of cameras together; those that were last audited with another share are left out."""
    counted = [found for found in audits if found.share == share]
    total = reduce(add, counted, Audits(share, 0, 0, 0, 0))
    return PromiseStatus(
        cameras=len(counted),
        segments=total.segments,
        dropped=total.dropped,
        audits_asked=total.asked,
        audits_answered=total.done,
        audits_failed=total.failed,
        confidence=confidence,
        failure_rate_at_most=failure_rate_at_most(total, confidence),
        failure_rate_at_least=failure_rate_at_least(total, confidence),
    )


@router.get("/v1/clients/{camera}/promise", summary="A camera's certified promise", responses=refusals(404))
async def camera_promise(camera: CameraId, _: CameraPrincipal, services: TheServices) -> PromiseStatus:
    options = services.options.audits
    counted = await services.store.audits.counted([camera])
    return promise_status(counted, options.share, options.confidence)


@router.get("/v1/promise", summary="A tenant's certified promise", responses=refusals(403, 404, 422))
async def tenant_promise(
    principal: ThePrincipal, services: TheServices, tenant: TenantQuery = None
) -> PromiseStatus:
    """Of all its cameras together. An operator names the tenant; a tenant sees its own."""
    whose = tenant or principal.tenant
    principal.require_insight(whose)
    if not whose:
        raise Invalid("An operator sees every tenant's promise: name one with ?tenant=.")
    options = services.options.audits
    counted = await services.store.audits.counted(await services.store.tenants.cameras(whose))
    return promise_status(counted, options.share, options.confidence)


@router.put(
    "/v1/clients/{camera}/segments/{seq}/audit",
    status_code=202,
    summary="Send the frame that an answer asked for",
    responses=refusals(403, 404, 408, 409, 413, 422),
    openapi_extra=SEGMENT_BODY,
)
async def audit_segment(
    request: Request,
    camera: CameraId,
    seq: SeqPath,
    principal: CameraPrincipal,
    services: TheServices,
    bundle: BundleQuery,
) -> None:
    """The body is the segment's last frame alone, at full size and the ladder's best QP, as H.264 in mp4."""
    principal.require_upload()
    services.bundles.named(bundle)
    settings = services.settings
    frame = await read_body(request, settings.max_segment_bytes, settings.body_timeout_s)
    await take_audit(services, principal.tenant, camera, seq, frame)
