"""The uplink: measured on the camera's own uploads, and slowed down on request.

An upload's time runs from the first chunk of the body to the moment the operating system took the last
one, which excludes inference. The socket's send buffer hides the last SEND_BUFFER bytes or so, and the
server's own `receive` time hides what a proxy in between buffered: each is a lower bound of the true
time, so the larger of the two is used (`Upload.finish`).
"""

from __future__ import annotations

import csv
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from clients.errors import CameraError, UploadTooLate

MEGABYTE = 1e6
CHUNK = 8 * 1024
SEND_BUFFER = 64 * 1024
SHORTEST = 1e-4  # seconds; below this the clock, not the link, is measured


class Trace:
    """Bandwidth over time as steps, repeated for ever: rate `mbps[i]` (MB/s) from `seconds[i]` on."""

    def __init__(self, seconds: list[float], mbps: list[float]) -> None:
        if not seconds or seconds[0] != 0 or seconds != sorted(set(seconds)):
            raise CameraError("a bandwidth trace must start at second 0 and its seconds must rise strictly")
        if min(mbps) < 0 or max(mbps) <= 0:
            raise CameraError("a bandwidth trace needs rates in MB/s: none below 0 and one above")
        self._seconds, self._mbps = seconds, mbps
        # The last step lasts as long as the one before it; a single step lasts for ever.
        self._length = 2 * seconds[-1] - seconds[-2] if len(seconds) > 1 else float("inf")

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Reads CSV rows `seconds,MB/s`, with or without a heading. Raises `CameraError`."""
        try:
            rows = [row for row in csv.reader(path.read_text(encoding="utf-8").splitlines()) if row]
            if rows and not rows[0][0].strip().replace(".", "", 1).isdigit():
                rows = rows[1:]
            return cls([float(row[0]) for row in rows], [float(row[1]) for row in rows])
        except (OSError, ValueError, IndexError) as error:
            raise CameraError(
                f"cannot read the bandwidth trace {path}: rows must be seconds,MB/s ({error})"
            ) from error

    def sent_by(self, start: float, size: int) -> float:
        """When a transfer of `size` bytes that starts at `start` is through (seconds after the start)."""
        now, left = start, size / MEGABYTE
        while True:
            step = bisect_right(self._seconds, now % self._length) - 1
            ends = self._seconds[step + 1] if step + 1 < len(self._seconds) else self._length
            span, rate = max(ends - now % self._length, 1e-9), self._mbps[step]
            if rate * span >= left:
                return now + left / rate
            now, left = now + span, left - rate * span


class Uplink:
    """The camera's uplink: `bandwidth` is the smoothed measurement in MB/s, None before the first upload.

    Smoothed as EMA(bytes) / EMA(seconds), which weighs large uploads more than tiny ones. `cap` (MB/s or a
    `Trace`) paces the bodies for real, so that slow links can be tried on a fast one.
    """

    def __init__(self, cap: float | Trace | None = None, smoothing: float = 0.3) -> None:
        self.cap(cap)
        self._smoothing = smoothing
        self._epoch = time.monotonic()
        self._bytes = self._seconds = 0.0
        self._closed = threading.Event()

    @property
    def bandwidth(self) -> float | None:
        return self._bytes / MEGABYTE / self._seconds if self._seconds else None

    def cap(self, cap: float | Trace | None) -> None:
        """Another cap, from the next chunk on; None takes it away. Raises `CameraError`."""
        if isinstance(cap, float | int):
            if cap <= 0:
                raise CameraError(f"an uplink of {cap:g} MB/s sends nothing: give more than 0")
            cap = Trace([0.0], [float(cap)])
        self.trace = cap

    def measured(self, size: int, seconds: float) -> None:
        """Takes in one upload, whole or broken off."""
        weight = self._smoothing if self._seconds else 1.0
        seconds = max(seconds, SHORTEST)
        self._bytes += weight * (size - self._bytes)
        self._seconds += weight * (seconds - self._seconds)

    def upload(self, body: bytes, expiry: float | None) -> Upload:
        """A body to send now; `expiry` is on the clock of `time.monotonic`."""
        return Upload(self, body, expiry)

    def close(self) -> None:
        """Wakes an upload that is being paced; it ends with `UploadTooLate`."""
        self._closed.set()

    def due(self, started: float, size: int) -> float:
        """When a capped uplink has `size` bytes of an upload through (monotonic clock)."""
        trace = self.trace  # another thread may change it
        if trace is None:
            return started
        return self._epoch + trace.sent_by(started - self._epoch, size)

    def wait_until(self, moment: float) -> None:
        delay = moment - time.monotonic()
        if delay > 0 and self._closed.wait(delay):
            raise UploadTooLate


class Upload:
    """One body on its way; iterate it once. `seconds` and `whole` can be read afterwards."""

    def __init__(self, uplink: Uplink, body: bytes, expiry: float | None) -> None:
        self._uplink, self._body, self._expiry = uplink, body, expiry
        self.sent = 0
        self.seconds = 0.0
        self.whole = False

    def __iter__(self) -> Iterator[bytes]:
        """Chunks of the body. Raises `UploadTooLate` once the time is over."""
        started = due = time.monotonic()
        for offset in range(0, len(self._body), CHUNK):
            chunk = self._body[offset : offset + CHUNK]
            due = self._uplink.due(due, len(chunk))
            self._uplink.wait_until(due if self._expiry is None else min(due, self._expiry))
            if self._expiry is not None and time.monotonic() >= self._expiry:
                self.seconds = time.monotonic() - started
                raise UploadTooLate
            yield chunk
            self.sent, self.seconds = offset + len(chunk), time.monotonic() - started
        self.whole = True

    def finish(self, receive_seconds: float = 0.0) -> None:
        """Tells the uplink what was measured; `receive_seconds` is the server's view, 0 if there is none."""
        self.seconds = max(self.seconds, receive_seconds)
        if self.sent:
            self._uplink.measured(self.sent, self.seconds)
