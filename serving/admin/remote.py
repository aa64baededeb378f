"""The acts of `Administrator` over HTTP, with an operator's key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType

import httpx
from pydantic import ValidationError

from clients.administration import AuditPage, IssuedKey, KeyPage, LimitsPatch, NewKey, TenantLimits
from clients.alerts import IssuedWebhook, NewWebhook, WebhookInfo
from clients.protocol import CameraPage, CameraStatus, Problem
from clients.results import Retention, RetentionPatch
from clients.rollout import ARCHIVE_TYPE, BundleStanding, Plan, StoredBundle
from clients.usage import UsageReport

TIMEOUT_S = 30.0
PUSH_TIMEOUT_S = 600.0


class RemoteError(RuntimeError):
    """The server refused or cannot be reached; the message says why."""


class RemoteBundles:
    """The acts of `BundleActs` over HTTP."""

    def __init__(self, send: Callable[..., Awaitable[bytes]]) -> None:
        self._send = send

    async def standing(self) -> BundleStanding:
        return BundleStanding.model_validate_json(await self._send("GET", "/v1/bundles"))

    async def push(self, archive: bytes) -> StoredBundle:
        return StoredBundle.model_validate_json(await self._send("POST", "/v1/bundles", archive=archive))

    async def activate(self, bundle: str) -> Plan:
        return Plan.model_validate_json(await self._send("POST", f"/v1/bundles/{bundle}/activate"))

    async def canary(self, bundle: str, share: float) -> Plan:
        path = f"/v1/bundles/{bundle}/canary"
        return Plan.model_validate_json(await self._send("POST", path, json={"share": share}))

    async def roll_back(self) -> Plan:
        return Plan.model_validate_json(await self._send("POST", "/v1/bundles/rollback"))

    async def remove(self, bundle: str) -> None:
        await self._send("DELETE", f"/v1/bundles/{bundle}")


class RemoteAdministrator:
    """An asynchronous context manager that speaks to one server."""

    def __init__(self, server: str, key: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=server, headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S
        )
        self.bundles = RemoteBundles(self._send)

    async def __aenter__(self) -> RemoteAdministrator:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def create(self, wanted: NewKey) -> IssuedKey:
        return IssuedKey.model_validate_json(await self._send("POST", "/v1/keys", json=wanted.model_dump()))

    async def rotate(self, key_id: str) -> IssuedKey:
        return IssuedKey.model_validate_json(await self._send("POST", f"/v1/keys/{key_id}/rotate"))

    async def revoke(self, key_id: str) -> None:
        await self._send("DELETE", f"/v1/keys/{key_id}")

    async def list(self, tenant: str | None, after: str, limit: int) -> KeyPage:
        return KeyPage.model_validate_json(await self._page("/v1/keys", tenant, after, limit))

    async def audit(self, tenant: str | None, after: str, limit: int) -> AuditPage:
        return AuditPage.model_validate_json(await self._page("/v1/audit", tenant, after, limit))

    async def limits(self, tenant: str, patch: LimitsPatch) -> TenantLimits:
        path, changes = f"/v1/tenants/{tenant}/limits", patch.model_dump(include=patch.model_fields_set)
        answer = await (self._send("PATCH", path, json=changes) if changes else self._send("GET", path))
        return TenantLimits.model_validate_json(answer)

    async def retention(self, tenant: str, patch: RetentionPatch) -> Retention:
        path, changes = f"/v1/tenants/{tenant}/retention", patch.model_dump(include=patch.model_fields_set)
        answer = await (self._send("PATCH", path, json=changes) if changes else self._send("GET", path))
        return Retention.model_validate_json(answer)

    async def retarget(self, tenant: str, name: str, target_miou: float) -> CameraStatus:
        """Needs the tenant's own key: an operator's reaches no cameras."""
        page = CameraPage.model_validate_json(await self._send("GET", "/v1/clients", params={"name": name}))
        if not page.cameras:
            raise RemoteError(f"the key's tenant has no camera {name}")
        path, change = f"/v1/clients/{page.cameras[0].id}", {"target_miou": target_miou}
        return CameraStatus.model_validate_json(await self._send("PATCH", path, json=change))

    async def webhook(self, tenant: str) -> WebhookInfo:
        return WebhookInfo.model_validate_json(await self._send("GET", f"/v1/tenants/{tenant}/webhook"))

    async def set_webhook(self, tenant: str, wanted: NewWebhook) -> IssuedWebhook:
        path = f"/v1/tenants/{tenant}/webhook"
        return IssuedWebhook.model_validate_json(await self._send("PUT", path, json=wanted.model_dump()))

    async def clear_webhook(self, tenant: str) -> None:
        await self._send("DELETE", f"/v1/tenants/{tenant}/webhook")

    async def usage(self, tenant: str, month: str | None) -> UsageReport:
        own = {} if month is None else {"month": month}
        answer = await self._send("GET", "/v1/usage", params={"tenant": tenant} | own)
        return UsageReport.model_validate_json(answer)

    async def _page(self, path: str, tenant: str | None, after: str, limit: int) -> bytes:
        own = {} if tenant is None else {"tenant": tenant}
        return await self._send("GET", path, params={"after": after, "limit": str(limit)} | own)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: dict[str, str] | None = None,
        archive: bytes | None = None,
    ) -> bytes:
        headers = {} if archive is None else {"Content-Type": ARCHIVE_TYPE}
        timeout = TIMEOUT_S if archive is None else PUSH_TIMEOUT_S
        try:
            answer = await self._http.request(
                method, path, json=json, params=params, content=archive, headers=headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteError(f"{self._http.base_url} cannot be reached: {error}") from error
        if answer.is_success:
            return answer.content
        try:
            raise RemoteError(
                f"refused, {answer.status_code}: {Problem.model_validate_json(answer.content).detail}"
            )
        except ValidationError as error:
            raise RemoteError(f"{self._http.base_url} answered {answer.status_code}: no Penance?") from error
