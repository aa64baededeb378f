"""Dropped segments, kept until the server has counted them exactly once."""

from __future__ import annotations

import threading

from clients.protocol import MAX_DROPPED

Drop = tuple[int, int]  # (seq, configuration that was chosen)


class DropLedger:
    """Drops that no answer has acknowledged yet; safe to use from several threads.

    Bounded: when the server stays away for long, only the newest MAX_DROPPED are still reported
    (the averages on the server forget the older ones anyway); the camera's own count keeps all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[int, int] = {}

    def add(self, seq: int, configuration: int) -> None:
        with self._lock:
            self._pending[seq] = configuration
            for oldest in sorted(self._pending)[:-MAX_DROPPED]:
                del self._pending[oldest]

    def before(self, seq: int) -> tuple[Drop, ...]:
        """What the segment `seq` has to report.

        Take it once and keep it for every repetition of that seq: the server may have committed an earlier
        one whose answer was lost, and would then ignore drops that only the repetition names.
        """
        with self._lock:
            return tuple(sorted((s, c) for s, c in self._pending.items() if s < seq))

    def acknowledge(self, reported: tuple[Drop, ...]) -> None:
        """Forgets what an answered segment had reported."""
        with self._lock:
            for seq, _ in reported:
                self._pending.pop(seq, None)
