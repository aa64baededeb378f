"""One simulated camera: `clients.Camera` itself, but for what it films and compresses."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from clients.bandwidth import Trace, Uplink
from clients.camera import Camera
from clients.codec import CodecFlags
from clients.epoch import Epoch
from clients.policy import Choice, Observation, Policy
from clients.protocol import SegmentFormat
from clients.segment import CapturedSegment, EncodedSegment, SegmentResult
from configs.ladder import Configuration
from load_tests.cameras.library import Library


@dataclass(frozen=True, slots=True)
class PreparedSource:
    """Stands where a camera has its video: says which segments it sends, and holds none."""

    location: str
    format: SegmentFormat
    live: bool = True

    def close(self) -> None:
        """Nothing is open."""


class SimulatedCamera(Camera):
    """Sends prepared segments at its own clock, whatever the server does, by the code of a real camera.

    Each segment is due at a set moment, from which its latency counts and from which it has its own length to
    be uploaded. What is still on its way when later ones are due makes them wait: the newest goes next, those
    before it are dropped, as a real camera's one waiting place has it.
    """

    def __init__(
        self,
        library: Library,
        *,
        key: str,
        server: str,
        name: str,
        policy: str,
        target_miou: float,
        link: Trace | None,
        deadline: float | None,
    ) -> None:
        """`policy`: `adapter`, the bundle's, or another that `penance-camera` knows."""
        self._library, self._coming = library, 0
        super().__init__(
            PreparedSource(name, library.form),  # type: ignore[arg-type]
            key=key,
            server=server,
            name=name,
            policy=self._prepared_adapter if policy == "adapter" else policy,
            target_miou=target_miou,
            uplink=Uplink(link),
            deadline=deadline,
        )

    def play(
        self, first: float, until: float, sends: Callable[[float], bool]
    ) -> Generator[SegmentResult, None, None]:
        """Results of the segments due from `first` on (`time.monotonic`), one each T seconds, until `until`;
        `sends` says whether the camera is on at such a moment."""
        due, seconds = first, self.source.format.seconds
        while due < until and not self._stop.is_set():
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            while due + seconds <= min(time.monotonic(), until):  # a newer one is there already
                if sends(due):
                    yield self._overtaken(self._captured(due))
                due += seconds
            if sends(due):
                captured = self._captured(due)
                yield self._send(self._encode(captured), due + seconds)
            due += seconds

    def _captured(self, due: float) -> CapturedSegment:
        late = time.monotonic() - due
        numbered = self._number([])
        return CapturedSegment(numbered.seq, [], numbered.captured_at - late, due)

    def _choose(self, captured: CapturedSegment) -> tuple[Choice, int | None, Epoch]:
        self._coming = captured.seq
        return super()._choose(captured)

    def _compress(self, captured: CapturedSegment, configuration: Configuration, codec: CodecFlags) -> bytes:
        return self._library.body(captured.seq, configuration)

    def _compress_for_audit(self, segment: EncodedSegment, codec: CodecFlags) -> bytes:
        return self._library.audit(segment.seq)

    def _prepared_adapter(self, configurations: Sequence[Configuration]) -> Policy:
        return PreparedAdapter(self._library, configurations, lambda: self._coming)


class PreparedAdapter:
    """A bundle's policy with the estimator's work done beforehand: its networks run once a segment of the
    library, the adapter itself at every choice."""

    def __init__(
        self, library: Library, configurations: Sequence[Configuration], coming: Callable[[], int]
    ) -> None:
        """`coming` says which segment, by its seq, the next choice is for."""
        self._library, self._coming = library, coming
        self._adapter = library.adapter(configurations)

    def choose(self, observation: Observation) -> Choice:
        return self._adapter.decide(observation, self._library.estimate(self._coming()))
