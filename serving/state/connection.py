"""What every part of the state store shares: the prefix of its keys, and one word for every failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.exceptions import RedisError

from serving.problems import StateUnavailable

PREFIX = "penance:"
REGISTRY = f"{PREFIX}{{registry}}:"
"""Keys of Redis that change together in one transaction share a hash tag, so that a Redis Cluster holds them
in one slot: this is the tag of keys, limits and the operators' log."""
SCRIPTS = Path(__file__).parent


@asynccontextmanager
async def reaching_redis() -> AsyncIterator[None]:
    """Turns any failure of Redis within into `StateUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StateUnavailable(
            f"The state store did not answer ({type(error).__name__}); nothing was counted. "
            "Send the same request again.",
            retry_after_s=1,
        ) from error


def camera_key(camera: str) -> str:
    """Name of the hash that holds a camera's state; all that belongs to one camera has its hash tag."""
    return f"{PREFIX}{{{camera}}}:camera"


def key_hash(key_id: str) -> str:
    """Name of the hash that holds a key's fields."""
    return f"{REGISTRY}key:{key_id}"
