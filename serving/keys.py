"""Keys: `id.secret` with a random 256-bit secret, of which the server stores only SHA-256.

A tenant key administers its tenant's cameras; a camera token is good for that one camera. Known keys are
cached for at most 60 s, so a Redis that is away stops no camera that was known before.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.problems import NotFound, StateUnavailable, Unauthenticated
from serving.state.store import StateStore

CACHE_S = 60.0
CACHE_SIZE = 100_000
UNKNOWN_S = 2.0
DEMO_TENANT = "demo"
_SHAPE = re.compile(r"^([A-Za-z0-9_-]{8,32})\.([A-Za-z0-9_-]{43})$")

Scope = Literal["tenant", "camera"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key speaks for; `camera` is set where it is good for one camera only."""

    tenant: str
    scope: Scope
    camera: str | None = None

    def require_tenant_key(self) -> None:
        if self.scope != "tenant":
            raise NotFound("A camera's token reaches only its own camera. Use the tenant's key.")


class Keyring:
    """Makes keys and says whom they speak for."""

    def __init__(self, store: StateStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._cache: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()

    async def issue(self, principal: Principal) -> str:
        """Creates and stores a key; the only time its secret is seen."""
        key = _new_key()
        key_id, secret = key.split(".")
        await self._store.store_key(key_id, _key_fields(principal, secret))
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
        scope: Scope = "camera" if fields["scope"] == "camera" else "tenant"
        return Principal(fields["tenant"], scope, fields.get("camera"))

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
    key is stored at every start: with a new database, cameras go on with the key they have.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(_new_key() + "\n")
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    match = _SHAPE.match(path.read_text(encoding="utf-8").strip())
    if match is None:
        raise ValueError(f"{path} does not hold a key of the form id.secret: delete it and start again")
    key_id, secret = match.groups()
    await store.store_key(key_id, _key_fields(Principal(DEMO_TENANT, "tenant"), secret))


def _new_key() -> str:
    return f"{secrets.token_urlsafe(9)}.{secrets.token_urlsafe(32)}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key_fields(principal: Principal, secret: str) -> dict[str, str]:
    """What is stored for a key: everything but its secret."""
    fields = {"sha256": _hash(secret), "tenant": principal.tenant, "scope": principal.scope}
    return fields if principal.camera is None else fields | {"camera": principal.camera}
