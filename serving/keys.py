"""Keys: `id.secret` with a random 256-bit secret, of which the server stores only SHA-256.

A tenant key administers its tenant's cameras; a read-only key sees them; a camera token is good for that one
camera; an operator's key administers the keys of all tenants and reaches no tenant's cameras. Known keys are
cached for at most 60 s, so a Redis that is away stops no camera that was known before, and a revoked key
ends within that time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from clients.administration import Scope
from serving.problems import Forbidden, NotFound, StateUnavailable, Unauthenticated
from serving.state.store import StateStore

CACHE_S = 60.0
CACHE_SIZE = 100_000
UNKNOWN_S = 2.0
DEMO_TENANT = "demo"
SCOPES: dict[str, Scope] = {scope: scope for scope in get_args(Scope)}
_SHAPE = re.compile(r"^([A-Za-z0-9_-]{8,32})\.([A-Za-z0-9_-]{43})$")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key speaks for; `camera` is set where it is good for one camera only, and an operator has no
    tenant (''). `key_id` is what the audit log calls them by."""

    tenant: str
    scope: Scope
    camera: str | None = None
    key_id: str = field(default="", compare=False)

    def require_tenant_key(self) -> None:
        """Raises unless the key may change its tenant's cameras."""
        if self.scope == "read-only":
            raise Forbidden("A read-only key changes nothing. Use the tenant's key.")
        if self.scope != "tenant":
            raise NotFound("Only a tenant's key reaches this. Use the tenant's key.")

    def require_upload(self) -> None:
        """Raises `Forbidden` for a key that only reads."""
        if self.scope == "read-only":
            raise Forbidden("A read-only key sends no segments. Use the camera's token.")

    def require_insight(self, tenant: str) -> None:
        """Raises unless the key may see how the tenant as a whole stands."""
        if self.scope == "camera":
            raise Forbidden("A camera's token sees its camera only. Use the tenant's key.")
        if self.scope != "operator" and self.tenant != tenant:
            raise NotFound("There is no such tenant for this key. Use that tenant's key, or an operator's.")

    def require_control(self, tenant: str) -> None:
        """Raises unless the key may settle how the tenant is told of things: its own, or an operator's."""
        self.require_insight(tenant)
        if self.scope == "read-only":
            raise Forbidden("A read-only key sees and changes nothing of this. Use the tenant's key.")

    def require_operator(self) -> None:
        """Raises `Forbidden` unless the key is an operator's."""
        if self.scope != "operator":
            raise Forbidden("Only an operator administers keys and limits. Use an operator's key.")


class Keyring:
    """Makes keys and says whom they speak for."""

    def __init__(self, store: StateStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._cache: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()

    async def issue(self, principal: Principal) -> str:
        """Creates and stores a key; the only time its secret is seen."""
        key, key_id, sha256 = new_key()
        await self._store.store_key(key_id, key_fields(principal, sha256))
        if principal.camera is not None:
            await self._store.replace_camera_token(principal.camera, key_id)
        return key

    async def authenticate(self, authorization: str | None) -> Principal:
        """Reads an `Authorization` header. Raises `Unauthenticated`, or `StateUnavailable` for a key that
        is not cached while Redis is away."""
        scheme, _, presented = (authorization or "").partition(" ")
        match = _SHAPE.match(presented.strip()) if scheme.lower() == "bearer" else None
        if match is None:
            raise Unauthenticated(
                "Send 'Authorization: Bearer id.secret' with a tenant's key or a camera's token."
            )
        key_id, secret = match.groups()
        fields = await self._fields(key_id)
        if not hmac.compare_digest(fields.get("sha256", ""), _hash(secret)):
            raise Unauthenticated(
                "This key is not known: it was mistyped or revoked. Ask the tenant for another."
            )
        scope = SCOPES.get(fields["scope"])
        if scope is None:  # a later version's key: nobody's here, rather than anybody's
            raise Unauthenticated("This server does not know this key's scope. Update the server.")
        return Principal(fields["tenant"], scope, fields.get("camera"), key_id)

    async def _fields(self, key_id: str) -> dict[str, str]:
        now = self._clock()
        cached = self._cache.get(key_id)
        if cached is not None and now < cached[0]:
            return cached[1]
        try:
            fields = await self._store.read_key(key_id)
        except StateUnavailable:
            if cached is not None and cached[1]:
                return cached[1]
            raise
        self._cache[key_id] = (now + (CACHE_S if fields else UNKNOWN_S), fields)
        self._cache.move_to_end(key_id)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return fields


async def ensure_demo_key(store: StateStore, path: Path) -> None:
    """Makes the default tenant's key at the first start and writes it where `penance-camera` looks.

    The file appears whole or not at all, and only once, so replicas that start together agree on it. Its
    key is stored at every start: with a new database, cameras go on with the key they have. One that was
    revoked stays so.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key()[0] + "\n")
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    match = _SHAPE.match(path.read_text(encoding="utf-8").strip())
    if match is None:
        raise ValueError(f"{path} does not hold a key of the form id.secret: delete it and start again")
    key_id, secret = match.groups()
    await store.keys.keep(key_id, key_fields(Principal(DEMO_TENANT, "tenant"), _hash(secret)))


def new_key() -> tuple[str, str, str]:
    """A fresh key, its id, and the SHA-256 of its secret in hexadecimal."""
    # Hexadecimal: no id begins with a dash, which commands would take for an option.
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    return f"{key_id}.{secret}", key_id, _hash(secret)


def key_fields(principal: Principal, sha256: str, label: str = "") -> dict[str, str]:
    """What is stored for a key: everything but its secret."""
    fields = {"sha256": sha256, "tenant": principal.tenant, "scope": principal.scope, "label": label}
    fields["created_at"] = str(time.time())
    return fields if principal.camera is None else fields | {"camera": principal.camera}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
