"""Transitions in the database: for each camera a capped stream in its own slot, written by the script that
commits, and read tenant by tenant. What a tenant's cameras hold is its stream; on a cluster no script could
write to one stream for all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from clients.transitions import AuditedTransition, Transition
from serving.state.connection import PREFIX, reaching_redis

PAGE = 100


@dataclass(frozen=True, slots=True)
class Decision:
    """How a camera came to its choice, as far as it says: the probability that its policy gave it, the
    segment whose embedding the policy went by, and what else it saw (`clients.transitions`)."""

    probability: float | None = None
    feedback: int | None = None
    seen: str = ""


UNTOLD = Decision()


class TransitionStore:
    """Reads streams; `client` is an asynchronous Redis client that decodes replies."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    async def read(self, cameras: Sequence[str]) -> AsyncIterator[Transition | AuditedTransition]:
        """What is held of these cameras, one after the other, each the oldest first. Raises
        `StateUnavailable`, also in the middle."""
        for camera in cameras:
            after = "-"
            while True:
                async with reaching_redis():
                    page = await self._redis.xrange(transitions_key(camera), after, "+", count=PAGE)
                for number, fields in page:
                    yield _line(camera, number, fields)
                if len(page) < PAGE:
                    break
                after = f"({page[-1][0]}"


def transitions_key(camera: str) -> str:
    """Name of the stream of a camera's transitions."""
    return f"{PREFIX}{{{camera}}}:transitions"


def _line(camera: str, number: str, fields: dict[str, str]) -> Transition | AuditedTransition:
    if "miou" in fields:
        return AuditedTransition.model_validate({"camera": camera, "id": number, **fields})
    # what is unknown stands as an empty string
    held = {name: value for name, value in fields.items() if value or name in ("seen", "embedding", "bundle")}
    unknown = dict.fromkeys(("probability", "feedback", "bandwidth", "deficit", "overuse"))
    return Transition.model_validate({"camera": camera, "id": number, **unknown, **held})
