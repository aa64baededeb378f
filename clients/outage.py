"""One clear line when the server goes away and one when it is back, however often it was tried."""

from __future__ import annotations

import time
from collections.abc import Callable

from clients.errors import ServerError, ServerUnreachable

QUIET_OVERLOAD = 2.0  # seconds; a server that asks for a moment's patience is nothing to report


class Outage:
    """Follows whether the server answers. `patience`: seconds without any answer before it is given up."""

    def __init__(self, notify: Callable[[str], None], patience: float | None = None) -> None:
        self._notify, self._patience = notify, patience
        self._since: float | None = None
        self._told = False

    def failed(self, error: ServerError) -> None:
        """Takes in one failure. Raises `ServerUnreachable` when patience is over."""
        now = time.monotonic()
        since = self._since = now if self._since is None else self._since
        if not self._told and (isinstance(error, ServerUnreachable) or now - since > QUIET_OVERLOAD):
            self._told = True
            self._notify(f"{error}; trying again until it answers")
        if self._patience is not None and now - since > self._patience:
            raise ServerUnreachable(f"{error}; gave up after {self._patience:g} s") from error

    def answered(self) -> None:
        if self._told and self._since is not None:
            self._notify(f"the server answers again after {time.monotonic() - self._since:.1f} s")
        self._since, self._told = None, False
