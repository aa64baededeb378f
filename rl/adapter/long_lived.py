"""Simulated cameras that outlive their env runner: where each is, what it waits for and its moving averages
are kept in Redis, as the averages of real ones are. A runner that is lost and started again goes on with
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from rl.adapter.fleet import Fleet
from serving.state.connection import PREFIX

SAVE_EVERY = 16  # steps
KEPT_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class LongLived:
    """The cameras of one env runner of one training run."""

    url: str
    run: str
    runner: int

    @property
    def key(self) -> str:
        return f"{PREFIX}simulated:{self.run}:{self.runner}"

    def save(self, fleet: Fleet) -> None:
        """Raises `redis.RedisError`."""
        with redis.Redis.from_url(self.url) as connection:
            connection.set(self.key, fleet.saved(), ex=KEPT_S)

    def restore(self, fleet: Fleet) -> bool:
        """False where nothing is kept, or it is of a fleet of another size. Raises `redis.RedisError`."""
        with redis.Redis.from_url(self.url) as connection:
            kept = connection.get(self.key)
        return isinstance(kept, bytes) and fleet.restore(kept)
