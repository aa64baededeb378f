"""Bundles of the running application: an operator's acts."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from clients.rollout import (
    ARCHIVE_TYPE,
    BUNDLE_ID_PATTERN,
    BundleStanding,
    NewCanary,
    Plan,
    StoredBundle,
)
from serving.ingress.body import check_media_type, read_body
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import TheAdministrator, TheServices

PUSH_TIMEOUT_S = 600.0

router = APIRouter(tags=["bundles"])

BundlePath = Annotated[str, Path(pattern=BUNDLE_ID_PATTERN, description="its id, or `shipped`")]
ARCHIVE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {ARCHIVE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/v1/bundles", summary="List bundles", responses=refusals(403))
async def list_bundles(administrator: TheAdministrator) -> BundleStanding:
    """Which are in the store, in force and on trial, and what each replica holds."""
    return await administrator.bundles.standing()


@router.post(
    "/v1/bundles",
    status_code=201,
    summary="Push a bundle",
    responses=refusals(403, 408, 413, 415, 422),
    openapi_extra=ARCHIVE_BODY,
)
async def push(request: Request, administrator: TheAdministrator, services: TheServices) -> StoredBundle:
    """The body is a plain tar of the bundle's files, none of them in a folder. It is verified and signed, and
    changes nothing until it is activated."""
    check_media_type(request, ARCHIVE_TYPE, "bundle")
    archive = await read_body(request, services.settings.max_bundle_bytes, PUSH_TIMEOUT_S)
    return await administrator.bundles.push(archive)


@router.post(
    "/v1/bundles/rollback", status_code=202, summary="Go back", responses=refusals(403, 404, 413, 422)
)
async def roll_back(administrator: TheAdministrator) -> Plan:
    """Undoes the latest step: a preparation, a trial, or what was put in force."""
    return await administrator.bundles.roll_back()


@router.post(
    "/v1/bundles/{bundle}/activate",
    status_code=202,
    summary="Put a bundle in force",
    responses=refusals(403, 404, 413, 422),
)
async def activate(bundle: BundlePath, administrator: TheAdministrator) -> Plan:
    """Once all replicas have loaded it; `GET /v1/bundles` says when. One on trial is promoted so."""
    return await administrator.bundles.activate(bundle)


@router.post(
    "/v1/bundles/{bundle}/canary",
    status_code=202,
    summary="Try a bundle",
    responses=refusals(403, 404, 413, 422),
)
async def canary(bundle: BundlePath, administrator: TheAdministrator, wanted: NewCanary) -> Plan:
    """With a share of all cameras, once all replicas have loaded it. It is taken back by itself where audits
    show that it is worse than what is in force."""
    return await administrator.bundles.canary(bundle, wanted.share)


@router.delete(
    "/v1/bundles/{bundle}", status_code=204, summary="Remove a bundle", responses=refusals(403, 404, 422)
)
async def remove(bundle: BundlePath, administrator: TheAdministrator) -> None:
    """From the store; not one that is needed."""
    await administrator.bundles.remove(bundle)
