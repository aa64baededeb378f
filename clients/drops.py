"""Dropped segments, kept until the server has counted them exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from clients.protocol import MAX_DROPPED
from configs.ladder import Configuration

Drop = tuple[int, Configuration]  # seq, and what was chosen, on whichever ladder that was


class DropLedger:
    """Drops that no answer has acknowledged yet; safe to use from several threads.

    Bounded: when the server stays away for long, only the newest MAX_DROPPED are still reported
    (the averages on the server forget the older ones anyway); the camera's own count keeps all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[int, Configuration] = {}

    def add(self, seq: int, configuration: Configuration) -> None:
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
            return tuple((s, self._pending[s]) for s in sorted(self._pending) if s < seq)

    def acknowledge(self, reported: Iterable[int]) -> None:
        """Forgets the seqs that an answered segment had reported."""
        with self._lock:
            for seq in reported:
                self._pending.pop(seq, None)
