"""The key that signs bundles: made at the first start, held in the database, where all replicas find it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key; `secret` is its seed in base64."""

    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> SigningKey:
        return cls(base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode())

    @property
    def public(self) -> str:
        """What cameras pin, in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, manifest: bytes) -> str:
        """The signature of a bundle's `bundle.json`, in base64."""
        return base64.b64encode(self._key.sign(manifest)).decode()

    @property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.secret))
