"""Whether the process is up and whether segments can be accepted; open to all."""

from __future__ import annotations

from fastapi import APIRouter

from clients.protocol import Problem
from serving.ingress.services import TheServices

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="The process is up")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="Segments can be accepted", responses={503: {"model": Problem}})
async def readyz(services: TheServices) -> dict[str, str]:
    await services.store.ping()
    await services.readiness.check()
    return {"status": "ready", "bundle": services.bundles.in_force.id}
