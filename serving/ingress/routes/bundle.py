"""Bundles for cameras: the manifest and the files that run on a camera, of any bundle that is held."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import FileResponse

from clients.signature import SIGNATURE_HEADER
from configs.bundle import MANIFEST, Bundle
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import Services, ThePrincipal, TheServices
from serving.keys import Principal
from serving.problems import NotFound

router = APIRouter(tags=["fleet"])

IfNoneMatch = Annotated[str | None, Header(max_length=1024)]
FileName = Annotated[str, Path(max_length=128)]
WhichBundle = Annotated[
    str | None, Query(max_length=128, description="its id; without it, the one that the caller is to go by")
]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has it already."}}


@router.get(
    "/v1/bundle",
    summary="The manifest of a bundle",
    response_class=FileResponse,
    responses={200: {"content": {"application/json": {}}}, **NOT_MODIFIED, **refusals(404, 422)},
)
async def manifest(
    principal: ThePrincipal,
    services: TheServices,
    bundle: WhichBundle = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Its ETag is the bundle's id, which follows from all content; `Penance-Bundle-Signature` is the
    signature of these bytes."""
    found = _held(services, principal, bundle)
    path = found.path(MANIFEST)
    signed = {SIGNATURE_HEADER: await _signature(services, found)}
    return _file(path, found.id, if_none_match, "application/json", signed)


@router.get(
    "/v1/bundle/files/{name}",
    summary="A file of a bundle that cameras need",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **NOT_MODIFIED, **refusals(404, 422)},
)
async def file(
    name: FileName,
    principal: ThePrincipal,
    services: TheServices,
    bundle: WhichBundle = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Its ETag is its SHA-256. Weights of variants are not handed out."""
    found = _held(services, principal, bundle)
    manifest = found.manifest
    if name not in manifest.camera_files:
        held = ", ".join(manifest.camera_files) or "none"
        raise NotFound(f"The bundle has no such file for cameras (it has: {held}). See GET /v1/bundle.")
    return _file(found.path(name), manifest.checksums[name], if_none_match, "application/octet-stream", {})


async def _signature(services: Services, bundle: Bundle) -> str:
    """That of its push; the bundle that ships was never pushed, and is signed where it lies."""
    stored = await services.store.bundles.find(bundle.id)
    if stored is not None:
        return stored.signature
    return (await services.store.bundles.key()).sign(bundle.path(MANIFEST).read_bytes())


def _held(services: Services, principal: Principal, bundle: str | None) -> Bundle:
    if bundle is None:
        return services.bundles.for_camera(principal.camera or "")
    found = services.bundles.holder.get(bundle)
    if found is None:
        raise NotFound(f"Bundle {bundle[:100]} is not held here. GET /v1/bundle gives the one to go by.")
    return found


def _file(path: FilePath, tag: str, if_none_match: str | None, kind: str, more: dict[str, str]) -> Response:
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache", **more}
    if if_none_match is not None and f'"{tag}"' in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=kind)
