"""Transitions: what a tenant's cameras chose and what came of it, for learning."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from clients.transitions import LINES_TYPE, TransitionLine
from serving.ingress.query import TenantQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import NO_CAMERA, ThePrincipal, TheServices
from serving.problems import Invalid, NotFound
from serving.state.transitions import TransitionStore

router = APIRouter(tags=["tenants"])

OneCameraQuery = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="only this camera's; else all of them")
]


@router.get(
    "/v1/transitions",
    summary="What cameras chose and what came of it",
    response_class=StreamingResponse,
    response_model=None,
    responses=refusals(403, 404, 422) | {200: {"model": TransitionLine, "content": {LINES_TYPE: {}}}},
)
async def transitions(
    principal: ThePrincipal,
    services: TheServices,
    tenant: TenantQuery = None,
    camera: OneCameraQuery = None,
) -> StreamingResponse:
    """The newest segments of each camera and the audits of them, a JSON object a line, camera by camera, the
    oldest first. An operator names the tenant; a tenant sees its own."""
    whose = tenant or principal.tenant
    principal.require_insight(whose)
    if not whose:
        raise Invalid("An operator sees every tenant's transitions: name one with ?tenant=.")
    cameras = await services.store.tenants.cameras(whose)
    if camera is not None:
        if camera not in cameras:
            raise NotFound(NO_CAMERA)
        cameras = [camera]
    return StreamingResponse(_lines(services.store.transitions, cameras), media_type=LINES_TYPE)


async def _lines(store: TransitionStore, cameras: Sequence[str]) -> AsyncIterator[str]:
    async for line in store.read(cameras):
        yield line.model_dump_json() + "\n"
