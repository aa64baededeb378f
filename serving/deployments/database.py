"""The embedded database's deployment: it lives as long as the application does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ray import serve

from serving.state.embedded import EmbeddedServer

logger = logging.getLogger("ray.serve")


class DatabaseReplica:
    """Owns the embedded server: starts it, starts it again if it died, stops it with the application."""

    def __init__(self, state_directory: Path) -> None:
        self._server = EmbeddedServer(state_directory)
        self._server.ensure_running()
        logger.info("Embedded database at %s.", self._server.url)

    async def url(self) -> str:
        return self._server.url

    async def check_health(self) -> None:
        await asyncio.to_thread(self._server.ensure_running)

    def __del__(self) -> None:
        self._server.stop()


DatabaseDeployment = serve.deployment()(DatabaseReplica).options(
    num_replicas=1, health_check_period_s=2, health_check_timeout_s=30, ray_actor_options={"num_cpus": 0.05}
)
