"""Where a server can be reached: one address or several, of which one is in use until it fails.

Several addresses lead to the same application, as proxies of several nodes do: its state is in one database,
so a camera may go on at another of them at any time, under the same number.
"""

from __future__ import annotations

import threading

MOST = 16


def with_scheme(server: str) -> str:
    """A server's address as people give it, as a URL."""
    return server if server.startswith(("http://", "https://")) else f"http://{server}"


class Addresses:
    """The addresses of one server, as people give them, with commas between them. Threads may share it.

    The one in use stays in use while it answers; after a failure it is the next one's turn. Raises
    `ValueError` for none and for more than 16.
    """

    def __init__(self, given: str) -> None:
        parts = [part.strip() for part in given.split(",")]
        self.all = tuple(with_scheme(part).rstrip("/") for part in parts if part)
        if not 1 <= len(self.all) <= MOST:
            raise ValueError(
                f"give one to {MOST} addresses of the server, with commas between them, not {len(self.all)}"
            )
        self._at, self._lock = 0, threading.Lock()

    @property
    def current(self) -> str:
        return self.all[self._at]

    @property
    def any_secure(self) -> bool:
        return any(address.startswith("https:") for address in self.all)

    def failed(self, address: str) -> None:
        """Goes on to the next address, unless another thread has done so since `address` was tried."""
        with self._lock:
            if address == self.current:
                self._at = (self._at + 1) % len(self.all)
