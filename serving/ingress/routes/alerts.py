"""Alerts of a tenant, and the webhook that they are delivered to."""

from __future__ import annotations

from fastapi import APIRouter

from clients.alerts import AlertPage, IssuedWebhook, NewWebhook, WebhookInfo
from serving.admin.administrator import Administrator
from serving.ingress.query import TenantPath, TenantQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import ThePrincipal, TheServices, administrator_for
from serving.problems import Invalid

router = APIRouter(tags=["alerts"])


@router.get("/v1/alerts", summary="A tenant's alerts", responses=refusals(403, 404, 422))
async def alerts(principal: ThePrincipal, services: TheServices, tenant: TenantQuery = None) -> AlertPage:
    """Open ones, and the newest that ended. An operator names the tenant; a tenant sees its own."""
    whose = tenant or principal.tenant
    principal.require_insight(whose)
    if not whose:
        raise Invalid("An operator sees every tenant's alerts: name one with ?tenant=.")
    return await services.store.alerts.page(whose)


@router.get("/v1/tenants/{tenant}/webhook", summary="Where alerts go", responses=refusals(403, 404, 422))
async def webhook(tenant: TenantPath, principal: ThePrincipal, services: TheServices) -> WebhookInfo:
    """The secret is not shown again."""
    return await _administrator(tenant, principal, services).webhook(tenant)


@router.put(
    "/v1/tenants/{tenant}/webhook",
    summary="Have alerts delivered",
    responses=refusals(403, 404, 413, 422),
)
async def set_webhook(
    tenant: TenantPath, principal: ThePrincipal, services: TheServices, wanted: NewWebhook
) -> IssuedWebhook:
    """Each delivery is signed with the secret, which is shown this once."""
    return await _administrator(tenant, principal, services).set_webhook(tenant, wanted)


@router.delete(
    "/v1/tenants/{tenant}/webhook",
    status_code=204,
    summary="Have alerts delivered no more",
    responses=refusals(403, 404, 422),
)
async def clear_webhook(tenant: TenantPath, principal: ThePrincipal, services: TheServices) -> None:
    """What waits to be delivered is forgotten. Alerts go on, and are listed."""
    await _administrator(tenant, principal, services).clear_webhook(tenant)


def _administrator(tenant: str, principal: ThePrincipal, services: TheServices) -> Administrator:
    principal.require_control(tenant)
    return administrator_for(principal, services)
