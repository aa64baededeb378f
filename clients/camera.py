"""The camera as a class, for programs; `penance-camera` is made of it.

with Camera("street.mp4", key=key, policy="round-robin", pace="server") as camera:
    for result in camera.run():
        print(result.seq, result.dropped or result.answer.class_shares)
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from clients.bandwidth import Uplink
from clients.bundles import fetch_bundle
from clients.codec import CodecFlags, encode_segment
from clients.connection import PenanceServer
from clients.delivery import Delivery
from clients.drops import DropLedger
from clients.epoch import Epoch, Terms, on_ladder
from clients.errors import RefusedByServer, ServerError, ServerUnreachable, StaleBundle, TryLater
from clients.follower import BundleFollower
from clients.outage import Outage
from clients.policy import (
    AUTO,
    Choice,
    FixedPolicy,
    Policy,
    PolicyFactory,
    checked_policy,
    parse_policy,
)
from clients.protocol import DEFAULT_SERVER, DEFAULT_TARGET, MaskMode, Registered, Registration
from clients.realtime import Pipeline
from clients.retry import retry_delay
from clients.segment import CapturedSegment, EncodedSegment, SegmentResult, dropped_segment
from clients.source import Frame, VideoSource, without_login
from clients.tracing import segment_tracing
from configs.bundle import Bundle, BundleError
from configs.ladder import Configuration
from configs.settings import Settings

__all__ = ["Camera", "Pace", "SegmentResult"]

Pace = Literal["realtime", "server"]
REFUSALS_IN_A_ROW = 3  # then it is not the segment that is wrong, it is the camera
REGISTRATIONS_IN_A_ROW = 3  # for one segment


class Camera:
    """Cuts a video into segments, compresses each as its policy says, and has the server segment them.

    pace: `realtime` takes segments at the video's own time and drops what is not uploaded within the
        segment's length (at most one waits; dropped ones are reported to the server); `server` goes as
        fast as answers come, tries each segment until it is answered, and reads files as needed.
    server: its address, or several with commas between them: where one does not answer, it goes on at the
        next.
    policy: `auto` is the learnt one of the server's bundle, or `fixed:0` where that has none for such
        segments; `adapter`, `adapter:BUNDLE`, `fixed:INDEX`, `fixed:SCALE/QP/VARIANT`, `round-robin`, or a
        function that makes a `Policy` from the ladder.
    explore: share of segments for which a learnt policy draws any configuration that it takes to fit.
    target_miou: what to reach; None leaves it to the server, where it may be changed while the camera runs:
        the attribute follows with every answer.
    masks: label maps wanted with each answer: `none`, `last` frame, or `all` frames.
    segments: end after this many; None goes on to the end of the video.
    one_connection: whether segments go over one WebSocket instead of a request each.
    deadline: seconds after which an answer is of no use; the server then refuses instead (None: never).
    patience: seconds without any answer after which `ServerUnreachable` is raised (None: try for ever).
    notify: gets one clear line when something happens that people should know.

    Opening raises `SourceError`, `RefusedByServer` or `ServerUnreachable`.
    """

    def __init__(
        self,
        source: str | VideoSource,
        *,
        key: str,
        server: str = DEFAULT_SERVER,
        name: str | None = None,
        policy: str | PolicyFactory = AUTO,
        explore: float = 0.0,
        target_miou: float | None = None,
        pace: Pace = "realtime",
        masks: MaskMode = "none",
        segments: int | None = None,
        uplink: Uplink | None = None,
        one_connection: bool = False,
        deadline: float | None = None,
        patience: float | None = None,
        notify: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.source = VideoSource(source, notify=notify) if isinstance(source, str) else source
        self.name = name or default_name(self.source.location)
        self.pace, self.uplink = pace, uplink or Uplink()
        self._given_target = target_miou
        if isinstance(policy, str):
            checked_policy(policy, explore)
        self._given_policy, self._explore = policy, explore
        self._segments, self._notify = segments, notify
        self._stop, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # guards what the compressing and the sending thread share
        self._ledger = DropLedger()
        self._outage = Outage(notify, patience)
        self.server = PenanceServer(server, key, one_connection)
        self._delivery = Delivery(
            self.server,
            self.uplink,
            self._ledger,
            self._outage,
            self._stop,
            self._ended,
            masks,
            deadline,
            tracing=segment_tracing(Settings().trace_share, self.name),
        )
        self._epoch: Epoch | None = None
        self._follower = BundleFollower(self._epoch_of, notify)
        self._next_seq = self._refusals = 0
        self.target_miou = DEFAULT_TARGET  # to choose by, as the server said last

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Registers with the server, waiting for one that is not there yet."""
        if self._epoch is None:
            self._next_seq = self._register().next_seq

    @property
    def terms(self) -> Terms:
        """Ladder, costs, classes and codec of the bundle that the camera goes by; `RuntimeError` before it is
        open."""
        return self._in_force().terms

    @property
    def configurations(self) -> tuple[Configuration, ...]:
        """The ladder that the camera goes by; empty before it is open."""
        return () if self._epoch is None else self._epoch.terms.configurations

    def cost(self, configuration: Configuration) -> float:
        """What a configuration costs, normalised by the most expensive one."""
        terms = self.terms
        return terms.costs[on_ladder(configuration, terms.configurations)]

    def stop(self) -> None:
        """Ends `run` after the segment that is on its way; any thread or signal handler may call it."""
        self._stop.set()
        self.source.close()
        self.uplink.close()

    def close(self) -> None:
        self.stop()
        self._follower.close()
        self.server.close()
        self._delivery.tracing.close()

    def run(self) -> Generator[SegmentResult, None, None]:
        """One result per segment, answered or dropped, in the order in which their outcome is known."""
        self.open()
        segments = itertools.islice(self.source.segments(), self._segments)
        if self.pace == "server":
            for frames in read_ahead(segments):
                if self._stop.is_set():
                    return
                yield self._send(self._encode(self._number(frames)), None)
            return
        pipeline = Pipeline(
            segments,
            self.source.format.seconds,
            self.source.live,
            self._number,
            self._encode,
            self._send,
            self._overtaken,
            self._stop,
            self._ended,
        )
        try:
            yield from pipeline.run()
        finally:
            self.stop()

    def _register(self) -> Registered:
        """Registers anew, whatever time the server takes to come up, and takes over its ladder."""
        registration = Registration(
            name=self.name, target_miou=self._given_target, segment=self.source.format
        )
        for attempt in itertools.count():
            try:
                registered = self.server.register(registration)
                break
            except (ServerUnreachable, TryLater) as error:
                self._outage.failed(error)
                delay = retry_delay(error, attempt, self._delivery.backoff, self._delivery.random)
                if self._stop.wait(delay or 0.0):
                    raise
        self._outage.answered()
        self._given_target = None  # registering again must not undo what was changed at the server since
        self.target_miou = registered.target_miou
        self._follower.pin(Settings().signing_key or registered.signing_key)
        terms = Terms.registered(registered)
        with self._lock:
            if self._epoch is None or self._epoch.terms != terms:
                self._epoch = Epoch(terms, self._policy_for(terms))
        return registered

    def _bundle(self, bundle: str) -> Bundle:
        """The camera's part of a bundle that the server holds."""
        cache = Settings().cache_directory / "bundles"
        return fetch_bundle(self.server, bundle, cache, self._follower.key)

    def _epoch_of(self, bundle: str) -> Epoch:
        """All that there is of a bundle, fetched and loaded."""
        terms = Terms.of(self._bundle(bundle))
        return Epoch(terms, self._policy_for(terms))

    def _policy_for(self, terms: Terms) -> Policy:
        """The policy that the camera was given, for one bundle."""
        given = self._given_policy
        if given == AUTO:
            return self._usual_policy(terms)
        if isinstance(given, str):
            given = parse_policy(given, self._explore, lambda: self._bundle(terms.bundle))
        policy = given(terms.configurations)
        learnt_with = getattr(policy, "bundle", terms.bundle)
        if learnt_with != terms.bundle:
            raise BundleError(
                f"the policy is of bundle {learnt_with}, the server goes by {terms.bundle}: give auto, or "
                "that bundle's"
            )
        return policy

    def _usual_policy(self, terms: Terms) -> Policy:
        """The learnt policy, where the server's bundle has one for such segments."""
        form, wanted = self.source.format, ""
        try:
            bundle = self._bundle(terms.bundle)
        except RefusedByServer as refusal:
            if refusal.problem.status != 404:  # servers before this version hand out no bundle
                raise
        else:
            entry = bundle.manifest.policy
            if entry is not None and entry.timing.seconds == form.seconds and form.fps <= entry.timing.fps:
                from clients.adapter import AdapterPolicy  # needs ONNX Runtime

                return AdapterPolicy(bundle, terms.configurations, self._explore)
            wanted = "" if entry is None else f" (it has one for {entry.timing})"
        self._notify(f"no learnt policy for such segments{wanted}: all go at the best configuration")
        return FixedPolicy(0)

    def _in_force(self) -> Epoch:
        if self._epoch is None:
            raise RuntimeError("open the camera first")
        return self._epoch

    def _number(self, frames: list[Frame]) -> CapturedSegment:
        with self._lock:
            seq, self._next_seq = self._next_seq, self._next_seq + 1
        return CapturedSegment(seq, frames, time.time(), time.monotonic())

    def _choose(self, captured: CapturedSegment) -> tuple[Choice, int | None, Epoch]:
        """The choice for a segment, the seq whose embedding it went by, and whose choice it is. Here, between
        two segments, a camera changes to the bundle that it was asked to take."""
        with self._lock:
            ready = self._follower.take()
            if ready is not None and ready.bundle != self._in_force().bundle:
                self._epoch = ready
                self._notify(f"goes by bundle {ready.bundle} from segment {captured.seq} on")
            epoch = self._in_force()
            choice, made_by = epoch.choose(
                captured.seq, captured.frames, self.target_miou, self.uplink.bandwidth
            )
            return choice, made_by, epoch

    def _encode(self, captured: CapturedSegment) -> EncodedSegment:
        choice, feedback, epoch = self._choose(captured)
        configuration = epoch.terms.configurations[choice.configuration]
        started = time.perf_counter()
        data = self._compress(captured, configuration, epoch.terms.codec)
        with self._lock:
            epoch.last_bytes = len(data)
        return EncodedSegment(
            captured,
            configuration,
            epoch.bundle,
            data,
            1000 * (time.perf_counter() - started),
            time.monotonic(),
            choice,
            feedback,
            epoch.terms.configurations,
        )

    def _compress(self, captured: CapturedSegment, configuration: Configuration, codec: CodecFlags) -> bytes:
        rate = Fraction(self.source.format.fps).limit_denominator(1000)
        return encode_segment(captured.frames, configuration.setting, rate, codec)

    def _compress_for_audit(self, segment: EncodedSegment, codec: CodecFlags) -> bytes:
        """Its last frame, at the best compression setting."""
        return encode_segment(segment.captured.frames[-1:], segment.ladder[0].setting, 1, codec)

    def _overtaken(self, segment: CapturedSegment | EncodedSegment) -> SegmentResult:
        """Drops a segment that waited too long; one that was not compressed yet still gets its choice."""
        if isinstance(segment, EncodedSegment):
            configuration, bundle = segment.configuration, segment.bundle
        else:
            choice, _, epoch = self._choose(segment)
            configuration, bundle = epoch.terms.configurations[choice.configuration], epoch.bundle
        self._ledger.add(segment.seq, configuration)
        return dropped_segment(segment, configuration, bundle, "backlog")

    def _send(self, segment: EncodedSegment, expiry: float | None) -> SegmentResult:
        """Delivers a segment; one that was made for another bundle is made anew under the same seq."""
        for _ in range(REGISTRATIONS_IN_A_ROW):
            try:
                result = self._learn(self._delivery.deliver(segment, expiry))
                if result.answer is not None and result.answer.audit and not result.answer.replayed:
                    self._audit(segment)
                return result
            except RefusedByServer as error:
                refusal = error
            if isinstance(refusal, StaleBundle):
                if segment.bundle == self._in_force().bundle:  # else this is only a latecomer
                    self._register()
                    self._notify(f"the server changed to bundle {self._in_force().bundle}")
                segment = self._encode(segment.captured)
            elif refusal.problem.status == 401:
                self._register()  # the token is gone; the tenant's key, if it is still good, gives a new one
            else:
                return self._refused(segment, refusal)
        raise refusal

    def _audit(self, segment: EncodedSegment) -> None:
        """Sends what audits the segment, if the uplink has room for it."""
        frame = self._compress_for_audit(segment, self._in_force().terms.codec)
        bandwidth = self.uplink.bandwidth
        if self.pace == "realtime" and bandwidth is not None:
            spare = 1e6 * bandwidth * self.source.format.seconds - len(segment.data)
            if len(frame) > spare:
                return
        with contextlib.suppress(ServerError):  # an audit is a favour: nothing is tried again for it
            self.server.send_audit(segment.seq, frame, segment.bundle)

    def _refused(self, segment: EncodedSegment, refusal: RefusedByServer) -> SegmentResult:
        """Drops the one segment that the server refused; raises if it is the camera that is wrong."""
        self._refusals += 1
        if refusal.problem.status in (200, 403, 404) or self._refusals >= REFUSALS_IN_A_ROW:
            raise refusal
        self._notify(f"segment {segment.seq} was refused: {refusal}")
        if refusal.problem.status == 409:  # another camera of this name is ahead: go on after it
            with contextlib.suppress(ServerError):
                next_seq = self.server.status().next_seq
                with self._lock:
                    self._next_seq = max(self._next_seq, next_seq)
        else:
            self._ledger.add(segment.seq, segment.configuration)
        return dropped_segment(segment, segment.configuration, segment.bundle, "refused", str(refusal), 1)

    def _learn(self, result: SegmentResult) -> SegmentResult:
        """Keeps an answer's embedding, with what made it, for the choices that follow."""
        answer = result.answer
        if answer is not None:
            self._refusals = 0
            if answer.target_miou is not None and not answer.replayed:
                self.target_miou = answer.target_miou
            epoch = self._in_force()
            with self._lock:
                epoch.learn(answer)
            wanted = None if answer.replayed else answer.bundle_wanted
            if wanted is not None and wanted != epoch.bundle:
                self._follower.ask(wanted)
        return result


def default_name(location: str) -> str:
    """A camera's name by its source: a file's stem, `webcam-0`, `demo`, or host and path of an address."""
    if location.isdigit():
        return f"webcam-{location}"
    if location.startswith("demo"):
        return location.rstrip(":").replace(":", "-")
    if "://" in location:
        address = without_login(location).partition("://")[2]  # a camera's password is no name
        return re.sub(r"[^\w.:/-]+", "-", address.split("?")[0]).strip("-/")[:128] or "camera"
    return re.sub(r"[^\w .:@/+-]+", "-", Path(location).stem).strip()[:128] or "camera"


def read_ahead(segments: Iterator[list[Frame]]) -> Iterator[list[Frame]]:
    """The same segments, each made in a thread while the one before it is on its way."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, segments, None)
        while (frames := coming.result()) is not None:
            coming = reader.submit(next, segments, None)
            yield frames
