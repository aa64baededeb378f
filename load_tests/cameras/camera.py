"""One simulated camera: `clients.Camera` itself, but for what it films and compresses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from clients.bandwidth import Trace, Uplink
from clients.bitrate import SizeEstimate
from clients.camera import Camera
from clients.errors import ServerError
from clients.policy import Choice, Observation, Policy, PolicyFactory
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
        policy: str | PolicyFactory,
        target_miou: float,
        link: Trace | None,
        deadline: float | None,
    ) -> None:
        self._library = library
        super().__init__(
            PreparedSource(name, library.form),  # type: ignore[arg-type]
            key=key,
            server=server,
            name=name,
            policy=policy,
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

    def _encode(self, captured: CapturedSegment) -> EncodedSegment:
        choice, feedback, bundle = self._choose(captured)
        configuration = self.configurations[choice.configuration]
        data = self._library.body(captured.seq, configuration)
        with self._lock:
            self._last_bytes = len(data)
        return EncodedSegment(captured, configuration, bundle, data, 0.0, choice, feedback)

    def _choose(self, captured: CapturedSegment) -> tuple[Choice, int | None, str]:
        if isinstance(self._policy, PreparedAdapter):
            self._policy.coming = captured.seq
        return super()._choose(captured)

    def _audit(self, segment: EncodedSegment) -> None:
        with contextlib.suppress(ServerError):
            self.server.send_audit(segment.seq, self._library.audit(segment.seq))


class PreparedAdapter:
    """A bundle's policy with the estimator's work done beforehand: its networks run once a segment of the
    library, the adapter itself at every choice."""

    def __init__(self, library: Library, configurations: Sequence[Configuration]) -> None:
        self._library, self._adapter = library, library.adapter(configurations)
        self.coming = 0

    def choose(self, observation: Observation) -> Choice:
        return self._adapter.decide(observation, self._estimate)

    @property
    def _estimate(self) -> SizeEstimate:
        return self._library.estimate(self.coming)


def policy_factory(text: str, library: Library) -> str | PolicyFactory:
    """The policy of a scenario as a camera takes it."""

    def prepared(configurations: Sequence[Configuration]) -> Policy:
        return PreparedAdapter(library, configurations)

    return prepared if text == "adapter" else text
