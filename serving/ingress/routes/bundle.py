"""The bundle in force, for cameras: its manifest and the files that run on a camera."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse

from configs.bundle import MANIFEST
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import ThePrincipal, TheServices
from serving.problems import NotFound

router = APIRouter(tags=["fleet"])

IfNoneMatch = Annotated[str | None, Header(max_length=1024)]
FileName = Annotated[str, Path(max_length=128)]
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller has it already."}}


@router.get(
    "/v1/bundle",
    summary="The manifest of the bundle in force",
    response_class=FileResponse,
    responses={200: {"content": {"application/json": {}}}, **NOT_MODIFIED, **refusals(422)},
)
async def manifest(_: ThePrincipal, services: TheServices, if_none_match: IfNoneMatch = None) -> Response:
    """Its ETag is the bundle's id, which follows from all content."""
    bundle = services.bundle
    return _file(bundle.path(MANIFEST), bundle.id, if_none_match, "application/json")


@router.get(
    "/v1/bundle/files/{name}",
    summary="A file of the bundle that cameras need",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, **NOT_MODIFIED, **refusals(404, 422)},
)
async def file(
    name: FileName, _: ThePrincipal, services: TheServices, if_none_match: IfNoneMatch = None
) -> Response:
    """Its ETag is its SHA-256. Weights of variants are not handed out."""
    manifest = services.bundle.manifest
    if name not in manifest.camera_files:
        held = ", ".join(manifest.camera_files) or "none"
        raise NotFound(f"The bundle has no such file for cameras (it has: {held}). See GET /v1/bundle.")
    return _file(
        services.bundle.path(name), manifest.checksums[name], if_none_match, "application/octet-stream"
    )


def _file(path: FilePath, tag: str, if_none_match: str | None, kind: str) -> Response:
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if if_none_match is not None and f'"{tag}"' in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=kind)
