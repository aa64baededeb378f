"""Tenants' limits: an operator sets them, a tenant reads its own."""

from __future__ import annotations

from fastapi import APIRouter

from clients.administration import LimitsPatch, TenantLimits
from serving.ingress.query import TenantPath
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import TheAdministrator, ThePrincipal, TheServices

router = APIRouter(tags=["tenants"])


@router.get("/v1/tenants/{tenant}/limits", summary="A tenant's limits", responses=refusals(403, 404, 422))
async def limits(tenant: TenantPath, principal: ThePrincipal, services: TheServices) -> TenantLimits:
    principal.require_insight(tenant)
    return await services.store.tenants.limits(tenant, services.options.limits)


@router.patch("/v1/tenants/{tenant}/limits", summary="Set limits", responses=refusals(403, 413, 422))
async def set_limits(tenant: TenantPath, administrator: TheAdministrator, patch: LimitsPatch) -> TenantLimits:
    """Only what is given changes, everywhere within 10 s; null is the default again."""
    return await administrator.limits(tenant, patch)
