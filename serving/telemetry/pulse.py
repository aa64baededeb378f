"""What an ingress replica tells of itself every few seconds, whether segments come or not."""

from __future__ import annotations

import asyncio
import logging
import time

from serving.ingress.dispatch import Dispatcher
from serving.problems import StateUnavailable
from serving.state.store import StateStore
from serving.telemetry import catalogue
from serving.telemetry.instruments import Instruments

BEAT_S = 5.0

logger = logging.getLogger("ray.serve")


class Pulse:
    """Its queue, and whether Redis answers it."""

    def __init__(self, instruments: Instruments, dispatcher: Dispatcher, store: StateStore) -> None:
        self._to, self._dispatcher, self._store = instruments, dispatcher, store

    async def run(self) -> None:
        """Beats for ever."""
        while True:
            try:
                await self.beat()
            except Exception:  # what tells of trouble must not be ended by any
                logger.exception("A replica could not tell how it is.")
            await asyncio.sleep(BEAT_S)

    async def beat(self) -> None:
        load = self._dispatcher.load
        self._to.set(catalogue.WAITING, load.waiting)
        self._to.set(catalogue.RUNNING, load.running)
        self._to.set(catalogue.BACKLOG, load.backlog_s)
        self._to.set(catalogue.BROWN_OUT, load.level)
        asked = time.perf_counter()
        try:
            await self._store.ping()
        except StateUnavailable:
            self._to.set(catalogue.REDIS_UP, 0)
        else:
            self._to.set(catalogue.REDIS_UP, 1)
            self._to.observe(catalogue.REDIS_SECONDS, time.perf_counter() - asked)
