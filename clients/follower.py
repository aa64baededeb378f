"""Follows the server to another bundle in the background, while segments go on by the one before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from clients.epoch import Epoch
from clients.errors import CameraError
from configs.bundle import BundleError

AGAIN_S = 5.0
"""Not sooner after the last try: just after a switch, its replicas may ask for different bundles."""


class BundleFollower:
    """Fetches and loads one bundle at a time. `made` does so, and raises `BundleError` or a `CameraError`."""

    def __init__(self, made: Callable[[str], Epoch], notify: Callable[[str], None]) -> None:
        self._made, self._notify = made, notify
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bundle")
        self._coming: tuple[str, Future[Epoch]] | None = None
        self._tried_at = -AGAIN_S
        self.key: str | None = None

    def pin(self, key: str | None) -> None:
        """Trusts this key's signatures from now on, and no other's that comes later."""
        self.key = self.key or key

    def ask(self, bundle: str) -> None:
        """Begins to fetch a bundle, unless one is on its way."""
        with self._lock:
            if self._coming is None and time.monotonic() - self._tried_at >= AGAIN_S:
                self._tried_at = time.monotonic()
                self._coming = (bundle, self._thread.submit(self._made, bundle))

    def take(self) -> Epoch | None:
        """What is ready, once. A bundle that cannot be taken is told of; the server will ask again."""
        with self._lock:
            if self._coming is None or not self._coming[1].done():
                return None
            (bundle, coming), self._coming = self._coming, None
            self._tried_at = time.monotonic()
        try:
            return coming.result()
        except (BundleError, CameraError, OSError) as error:
            self._notify(f"bundle {bundle} cannot be taken, the one before goes on: {error}")
            return None

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
