"""Signatures of bundles: Ed25519 over `bundle.json` as it lies there, which holds the SHA-256 of every file.

Keys and signatures travel in base64. The library is imported where it is needed: cameras without a bundle of
their server's never load it.
"""

from __future__ import annotations

import base64
import binascii

from configs.bundle import BundleError

SIGNATURE_HEADER = "Penance-Bundle-Signature"
KEY_PATTERN = r"^[A-Za-z0-9+/]{43}=$"


def check_signature(key: str, manifest: bytes, signature: str | None) -> None:
    """Raises `BundleError` unless `signature` is that of the manifest by the holder of `key`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not signature:
        raise BundleError(
            "the bundle has no signature: fetch it from the server that the camera registered at"
        )
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(base64.b64decode(signature, validate=True), manifest)
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise BundleError(
            "the bundle's signature is not that of the key that is trusted here: it was changed on its way, "
            "or the server has a new key (then register the camera anew)"
        ) from error
