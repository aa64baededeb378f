"""The realtime pace: capture, compression and sending side by side, with never more than one waiting."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from clients.segment import CapturedSegment, EncodedSegment, SegmentResult
from clients.source import Frame

Item = TypeVar("Item")
UNREAD_RESULTS = 8  # with this many results unread (they hold frames) sending waits for the reader


class Slot(Generic[Item]):
    """Holds at most one item between two threads: putting a newer one throws the older one out."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._condition = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    def put(self, item: Item) -> Item | None:
        """Puts an item; returns the older one that it replaced."""
        with self._condition:
            older, self._item = self._item, item
            self._condition.notify()
            return older

    def take(self) -> Item | None:
        """Waits for an item; None once the slot is closed and empty, or the camera is stopped."""
        with self._condition:
            while self._item is None and not self._closed and not self._stop.is_set():
                self._condition.wait(0.1)  # a signal handler may stop the camera but must take no locks
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Nothing more will be put; what is in it can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Pipeline:
    """Three threads and two slots: source -> [captured] -> compressor -> [encoded] -> sender -> results.

    The callables do the work: `encode` chooses and compresses, `send` delivers by a monotonic expiry, and
    `overtaken` makes the result of a segment that a newer one replaced while it waited.

    Each stage has a segment's length for itself: a slow processor compresses one segment while the one before
    is uploaded, and the uplink's time is not shortened by it, as it is not where policies are trained.
    """

    def __init__(
        self,
        segments: Iterator[list[Frame]],
        seconds: float,
        live: bool,
        number: Callable[[list[Frame]], CapturedSegment],
        encode: Callable[[CapturedSegment], EncodedSegment],
        send: Callable[[EncodedSegment, float], SegmentResult],
        overtaken: Callable[[CapturedSegment | EncodedSegment], SegmentResult],
        stop: threading.Event,
        ended: threading.Event,
    ) -> None:
        self._segments, self._seconds, self._live = segments, seconds, live
        self._number, self._encode, self._send, self._overtaken = number, encode, send, overtaken
        self._stop, self._ended = stop, ended
        self._captured: Slot[CapturedSegment] = Slot(stop)
        self._encoded: Slot[EncodedSegment] = Slot(stop)
        self._results: queue.Queue[SegmentResult | None] = queue.Queue()
        self._error: BaseException | None = None

    def run(self) -> Iterator[SegmentResult]:
        """Results as they come, until the source ends or the camera is stopped; then a thread's error."""
        for work, finish in (
            (self._capture, self._capture_ended),
            (self._compress, self._encoded.close),
            (self._deliver, lambda: self._results.put(None)),
        ):
            threading.Thread(target=self._guarded, args=(work, finish), daemon=True).start()
        while (result := self._results.get()) is not None:
            yield result
        if self._error is not None:
            raise self._error

    def _guarded(self, work: Callable[[], None], finish: Callable[[], None]) -> None:
        """Runs a thread's work; its end ends the threads after it, and its error waits for their results."""
        try:
            work()
        except BaseException as error:
            self._error = self._error or error
        finally:
            finish()

    def _capture_ended(self) -> None:
        self._ended.set()
        self._captured.close()

    def _capture(self) -> None:
        """Files and the demo are held to their own time: a segment is there when its last frame would be."""
        due = time.monotonic() + self._seconds
        for frames in self._segments:
            if not self._live:
                self._stop.wait(max(0.0, due - time.monotonic()))
                due = max(due, time.monotonic() - self._seconds) + self._seconds
            if self._stop.is_set():
                return
            older = self._captured.put(self._number(frames))
            if older is not None:
                self._results.put(self._overtaken(older))

    def _compress(self) -> None:
        while (captured := self._captured.take()) is not None and not self._stop.is_set():
            older = self._encoded.put(self._encode(captured))
            if older is not None:
                self._results.put(self._overtaken(older))

    def _deliver(self) -> None:
        while (segment := self._encoded.take()) is not None and not self._stop.is_set():
            self._results.put(self._send(segment, segment.encoded_at + self._seconds))
            while self._results.qsize() > UNREAD_RESULTS and not self._stop.wait(0.02):
                pass
