"""When to send again: decisions only, no clocks and no sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clients.errors import ServerUnreachable, TryLater

RandomSource = Callable[[], float]  # uniform in [0, 1)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: attempt k waits uniformly up to min(cap, base 2^k) seconds.

    Full jitter, so that a thousand cameras that lost one server do not all come back in the same moment.
    """

    base: float = 0.25
    cap: float = 10.0

    def delay(self, attempt: int, random: RandomSource) -> float:
        return random() * min(self.cap, self.base * 2.0 ** min(attempt, 32))


def retry_delay(error: Exception, attempt: int, backoff: Backoff, random: RandomSource) -> float | None:
    """Seconds to wait before attempt number `attempt + 1` of the same request, or None: do not send again.

    A server's Retry-After is a lower bound; the jitter goes on top of it.
    """
    if isinstance(error, ServerUnreachable):
        return backoff.delay(attempt, random)
    if isinstance(error, TryLater):
        return (error.retry_after or 0.0) + backoff.delay(attempt, random)
    return None
