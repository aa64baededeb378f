"""Keys and the log of what was done with them: an operator's acts."""

from __future__ import annotations

from fastapi import APIRouter

from clients.administration import AuditPage, IssuedKey, KeyPage, NewKey
from serving.ingress.query import AfterEntryQuery, AfterKeyQuery, KeyIdPath, LimitQuery, TenantQuery
from serving.ingress.routes.refusals import refusals
from serving.ingress.services import TheAdministrator

router = APIRouter(tags=["keys"])


@router.post("/v1/keys", status_code=201, summary="Create a key", responses=refusals(403, 413, 422))
async def create_key(administrator: TheAdministrator, wanted: NewKey) -> IssuedKey:
    """A tenant exists as soon as it has a key. The secret is shown this once."""
    return await administrator.create(wanted)


@router.get("/v1/keys", summary="List keys", responses=refusals(403, 422))
async def list_keys(
    administrator: TheAdministrator,
    tenant: TenantQuery = None,
    after: AfterKeyQuery = "",
    limit: LimitQuery = 100,
) -> KeyPage:
    """Tenants', read-only and operators' keys, revoked ones too. Camera tokens are not listed."""
    return await administrator.list(tenant, after, limit)


@router.post(
    "/v1/keys/{key_id}/rotate", status_code=201, summary="Replace a key", responses=refusals(403, 404, 422)
)
async def rotate_key(administrator: TheAdministrator, key_id: KeyIdPath) -> IssuedKey:
    """The key ends, everywhere within 60 s; the answer holds the one in its place."""
    return await administrator.rotate(key_id)


@router.delete(
    "/v1/keys/{key_id}", status_code=204, summary="Revoke a key", responses=refusals(403, 404, 422)
)
async def revoke_key(administrator: TheAdministrator, key_id: KeyIdPath) -> None:
    """Ends a key or a camera's token, everywhere within 60 s."""
    await administrator.revoke(key_id)


@router.get("/v1/audit", summary="The audit log", responses=refusals(403, 422))
async def audit(
    administrator: TheAdministrator,
    tenant: TenantQuery = None,
    after: AfterEntryQuery = "",
    limit: LimitQuery = 100,
) -> AuditPage:
    """What was done with keys, or with a tenant's cameras where `tenant` is given."""
    return await administrator.audit(tenant, after, limit)
