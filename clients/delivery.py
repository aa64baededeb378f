"""Brings one segment to the server: the same seq again until it is answered, refused, or too late."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from clients.bandwidth import Uplink, Upload
from clients.connection import PenanceServer, SegmentParameters
from clients.drops import DropLedger
from clients.epoch import on_ladder
from clients.errors import RefusedByServer, ServerUnreachable, TryLater, UploadTooLate
from clients.outage import Outage
from clients.protocol import MaskMode, SegmentAnswer
from clients.retry import Backoff, RandomSource, retry_delay
from clients.segment import DropReason, EncodedSegment, SegmentResult, dropped_segment
from clients.tracing import Traced, Untraced

CLOSING_GRACE = 10.0  # seconds that a segment in doubt is still tried for once the video has ended


@dataclass
class Delivery:
    """Sends segments one after the other. All but `stop` and `ended` belong to the sending thread."""

    server: PenanceServer
    uplink: Uplink
    ledger: DropLedger
    outage: Outage
    stop: threading.Event  # the camera is told to end now
    ended: threading.Event  # the video is over; nothing follows
    masks: MaskMode = "none"
    deadline: float | None = None  # seconds from the server's first byte to the answer
    backoff: Backoff = field(default_factory=Backoff)
    random: RandomSource = random.random
    tracing: Traced | Untraced = field(default_factory=Untraced)

    def deliver(self, segment: EncodedSegment, expiry: float | None) -> SegmentResult:
        """Sends until there is an outcome. `expiry` (monotonic): not uploaded whole by then is dropped.

        Once a body went out whole and its answer was lost, the segment is *in doubt*: the server may have
        committed it, so calling it dropped could count it twice. It is then sent again, past its expiry
        too, until the server says. Raises `RefusedByServer`, and `ServerUnreachable` when patience is over.
        """
        with self.tracing.segment(segment) as traced:
            traced.result = self._deliver(segment, expiry, traced.headers)
            return traced.result

    def _deliver(
        self, segment: EncodedSegment, expiry: float | None, headers: dict[str, str]
    ) -> SegmentResult:
        parameters = self._parameters(segment)
        attempt, in_doubt_since = 0, None
        while True:
            limit = None if in_doubt_since is not None else expiry
            upload = self.uplink.upload(segment.data, limit)
            started = time.monotonic()
            try:
                answer = self.server.send_segment(segment.seq, upload, len(segment.data), parameters, headers)
            except UploadTooLate:
                upload.finish()
                return self._drop(segment, "unanswered" if self.stop.is_set() else "late", attempt + 1)
            except (ServerUnreachable, TryLater) as error:
                upload.finish()
                if isinstance(error, ServerUnreachable) and upload.whole:
                    in_doubt_since = in_doubt_since or time.monotonic()
                self.outage.failed(error)
                attempt += 1
                delay = retry_delay(error, attempt, self.backoff, self.random) or 0.0
                reason = self._pause(delay, expiry, in_doubt_since)
                if reason:
                    return self._drop(segment, reason, attempt)
            except RefusedByServer:
                self.outage.answered()
                raise
            else:
                self.outage.answered()
                self.ledger.acknowledge(seq for seq, _ in parameters.dropped)
                return self._answered(segment, answer, upload, started, attempt + 1)

    def _parameters(self, segment: EncodedSegment) -> SegmentParameters:
        return SegmentParameters(
            configuration=segment.configuration.index,
            bundle=segment.bundle,
            bandwidth=self.uplink.bandwidth,
            deadline_ms=None if self.deadline is None else 1000 * self.deadline,
            captured_at=segment.captured.captured_at,
            masks=self.masks,
            probability=segment.choice.probability,
            feedback=segment.feedback,
            seen=segment.choice.seen or None,
            dropped=tuple((seq, on_ladder(c, segment.ladder)) for seq, c in self.ledger.before(segment.seq)),
        )

    def _pause(self, delay: float, expiry: float | None, in_doubt_since: float | None) -> DropReason | None:
        """Waits before the next attempt; a reason if there must be none."""
        now = time.monotonic()
        if in_doubt_since is None and expiry is not None and now + delay >= expiry:
            self.stop.wait(max(0.0, expiry - now))
            return "late"
        if self.stop.wait(delay):
            return "unanswered"
        if expiry is not None and in_doubt_since is not None and self.ended.is_set():
            return "unanswered" if time.monotonic() - in_doubt_since > CLOSING_GRACE else None
        return None

    def _drop(self, segment: EncodedSegment, reason: DropReason, attempts: int) -> SegmentResult:
        if reason != "unanswered":
            self.ledger.add(segment.seq, segment.configuration)
        return dropped_segment(segment, segment.configuration, segment.bundle, reason, attempts=attempts)

    def _answered(
        self, segment: EncodedSegment, answer: SegmentAnswer, upload: Upload, started: float, attempts: int
    ) -> SegmentResult:
        now = time.monotonic()
        # A stored answer tells of the upload that made it, not of this one.
        upload.finish(0.0 if answer.replayed else answer.timings_ms.receive / 1000)
        return SegmentResult(
            seq=segment.seq,
            configuration=segment.configuration,
            captured_at=segment.captured.captured_at,
            bundle=answer.bundle,
            frames=segment.captured.frames,
            bytes=len(segment.data),
            estimated_bytes=segment.choice.estimated_bytes,
            answer=answer,
            encode_ms=segment.encode_ms,
            upload_ms=1000 * upload.seconds,
            round_trip_ms=1000 * (now - started),
            latency_ms=1000 * (now - segment.captured.ready_at),
            attempts=attempts,
            bandwidth=self.uplink.bandwidth,
        )
