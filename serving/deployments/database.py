"""The embedded database's deployment: it lives as long as the application does."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from ray import serve

from serving.state.embedded import EmbeddedServer, SilentServerError

LOOK_EVERY_S = 0.25
"""Every segment waits for a database that died: it is looked at more often than Serve looks at replicas."""

logger = logging.getLogger("ray.serve")


class DatabaseReplica:
    """Owns the embedded server: starts it, starts it again if it died, stops it with the application."""

    def __init__(self, state_directory: Path) -> None:
        self._server = EmbeddedServer(state_directory)
        self._server.ensure_running()
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="database", daemon=True)
        self._watching.start()
        logger.info("Embedded database at %s.", self._server.url)

    def _watch(self) -> None:
        silent = False
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._server.ensure_running()
            except SilentServerError as error:  # a keeper anew could do no more about it
                if not silent:
                    logger.warning("%s", error)
                silent = True
            except Exception as error:  # whatever it is, the next look may find it gone
                if self._failure is None:
                    logger.warning("The embedded database cannot be started: %s", error)
                self._failure = error
            else:
                silent, self._failure = False, None

    async def url(self) -> str:
        return self._server.url

    async def check_health(self) -> None:
        """Raises what the latest try to start the server failed with."""
        if self._failure is not None:
            raise self._failure

    def __del__(self) -> None:
        self._ended.set()
        self._watching.join(timeout=5)
        self._server.stop()


DatabaseDeployment = serve.deployment()(DatabaseReplica).options(
    num_replicas=1, health_check_period_s=2, health_check_timeout_s=30, ray_actor_options={"num_cpus": 0.05}
)
