"""Creates, lists, rotates and revokes keys, sets limits and webhooks: the one home of these acts, for the
ingress and for `penance-admin` without a server. Each act on keys and limits is logged in the transaction
that does it; one on a webhook in its tenant's log, before it is done.
"""

from __future__ import annotations

import secrets

from clients.administration import (
    AuditEntry,
    AuditPage,
    IssuedKey,
    KeyInfo,
    KeyPage,
    LimitsPatch,
    NewKey,
    TenantLimits,
)
from clients.alerts import IssuedWebhook, NewWebhook, WebhookInfo
from clients.protocol import CameraPatch, CameraStatus
from clients.results import Retention, RetentionPatch
from clients.usage import UsageReport
from configs.rates import RateCard
from configs.settings import Settings
from serving.admin.usage import usage_report
from serving.alerts.destination import check_url
from serving.bundles.acts import BundleActs
from serving.keys import Principal, key_fields, new_key
from serving.options import ServingOptions
from serving.problems import Invalid, NotFound
from serving.state.store import StateStore

NO_KEY = "There is no such key in force. List those there are with GET /v1/keys."

NO_WEBHOOK = "This tenant has no webhook. Set one with PUT /v1/tenants/{tenant}/webhook."


class Administrator:
    """Acts in the name of `actor`: a key's id, or `offline:user`."""

    def __init__(
        self,
        store: StateStore,
        options: ServingOptions,
        rates: RateCard,
        actor: str,
        settings: Settings | None = None,
    ) -> None:
        self.bundles = BundleActs(store.bundles, settings or Settings(), options.canary, actor)
        self._keys, self._tenants, self._usage = store.keys, store.tenants, store.usage
        self._alerts, self._store = store.alerts, store
        self._options, self._rates, self._actor = options, rates, actor

    async def create(self, wanted: NewKey) -> IssuedKey:
        """A new key; the only time its secret is seen."""
        key, key_id, sha256 = new_key()
        principal = Principal(wanted.tenant or "", wanted.scope)
        await self._keys.add(key_id, key_fields(principal, sha256, wanted.label), self._actor)
        return IssuedKey(id=key_id, key=key, tenant=wanted.tenant, scope=wanted.scope, label=wanted.label)

    async def rotate(self, key_id: str) -> IssuedKey:
        """Ends a key and issues another in its place. Raises `NotFound`, or `Invalid` for a camera's."""
        key, new_id, sha256 = new_key()
        ending = await self._keys.end(key_id, self._actor, (new_id, sha256))
        if ending.verdict == "missing":
            raise NotFound(NO_KEY)
        if ending.verdict == "camera":
            raise Invalid("A camera's token is not rotated. Register the camera again: it gets a new one.")
        return IssuedKey.model_validate(
            {"id": new_id, "key": key, "tenant": ending.tenant or None, "scope": ending.scope}
            | {"label": ending.label}
        )

    async def revoke(self, key_id: str) -> None:
        """Ends a key or a camera's token, everywhere within 60 s. Raises `NotFound`."""
        if (await self._keys.end(key_id, self._actor)).verdict == "missing":
            raise NotFound(NO_KEY)

    async def list(self, tenant: str | None, after: str, limit: int) -> KeyPage:
        """One page of keys, revoked ones among them; of all tenants where `tenant` is None."""
        found = await self._keys.list(tenant, after, limit)
        keys = tuple(
            KeyInfo.model_validate(
                {
                    "id": name.partition("/")[2],
                    "tenant": fields["tenant"] or None,
                    "scope": fields["scope"],
                    "label": fields.get("label", ""),
                    "created_at": fields.get("created_at"),
                    "revoked_at": fields.get("revoked_at"),
                }
            )
            for name, fields in found
            if fields
        )
        return KeyPage(keys=keys, next=found[-1][0] if len(found) == limit else None)

    async def limits(self, tenant: str, patch: LimitsPatch) -> TenantLimits:
        """A tenant's limits, after changing what the patch names; in force everywhere within 10 s."""
        if patch.model_fields_set:
            await self._tenants.set_limits(tenant, patch, self._actor)
        return await self._tenants.limits(tenant, self._options.limits)

    async def retention(self, tenant: str, patch: RetentionPatch) -> Retention:
        """What a tenant's results leave behind, after changing what the patch names, which is logged."""
        if patch.model_fields_set:
            await self._store.results.set_retention(tenant, patch, self._actor)
        return await self._store.results.retention(tenant, self._options.retention)

    async def usage(self, tenant: str, month: str | None) -> UsageReport:
        """A tenant's month, `2026-11`, priced; None means the month that runs."""
        return await usage_report(self._usage, self._rates, tenant, month)

    async def retarget(self, tenant: str, name: str, target_miou: float) -> CameraStatus:
        """Changes the target of a tenant's camera; it follows with its next answer. Raises `NotFound`."""
        camera = (await self._tenants.camera_names(tenant)).get(name)
        if camera is None:
            raise NotFound(f"{tenant} has no camera {name}. List those there are with GET /v1/clients.")
        await self._keys.record(tenant, self._actor, "camera.patch", camera)
        await self._store.patch(camera, CameraPatch(target_miou=target_miou))
        status = await self._store.status(camera)
        if status is None:
            raise NotFound(f"Camera {name} was forgotten. Register it again.")
        return status

    async def webhook(self, tenant: str) -> WebhookInfo:
        """Where a tenant's alerts go. Raises `NotFound` if nowhere."""
        found = await self._alerts.webhook(tenant)
        if found is None:
            raise NotFound(NO_WEBHOOK)
        return found

    async def set_webhook(self, tenant: str, wanted: NewWebhook) -> IssuedWebhook:
        """Has a tenant's alerts delivered there; the only time the secret is seen. Raises `Invalid`."""
        url = str(check_url(wanted.url, self._options.alerts))
        secret = wanted.secret or secrets.token_urlsafe(32)
        await self._keys.record(tenant, self._actor, "webhook.set", tenant)
        await self._alerts.set_webhook(tenant, url, secret)
        return IssuedWebhook(url=url, secret=secret)

    async def clear_webhook(self, tenant: str) -> None:
        """Has a tenant's alerts delivered no more. Raises `NotFound` if they were not."""
        await self._keys.record(tenant, self._actor, "webhook.clear", tenant)
        if not await self._alerts.clear_webhook(tenant):
            raise NotFound(NO_WEBHOOK)

    async def audit(self, tenant: str | None, after: str, limit: int) -> AuditPage:
        """One page of a tenant's log, or of the operators' where `tenant` is None."""
        found = await self._keys.log(tenant, after, limit)
        entries = tuple(
            AuditEntry.model_validate(
                {**fields, "id": number, "at": int(number.partition("-")[0]) / 1e3}
                | {"tenant": fields["tenant"] or None}
            )
            for number, fields in found
        )
        return AuditPage(entries=entries, next=found[-1][0] if len(found) == limit else None)
