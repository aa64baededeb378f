"""Segments that simulated cameras send: at all compression settings, compressed before anything is
measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from clients.adapter import AdapterPolicy
from clients.bitrate import BitrateEstimator, SizeEstimate
from clients.codec import CodecFlags, encode_segment
from clients.protocol import SegmentFormat
from clients.source import Frame
from configs.bundle import Bundle
from configs.ladder import CompressionSetting, Configuration


class Library:
    """A few segments in every form that a camera may send them in; cameras take them in turn."""

    def __init__(
        self,
        bundle: Bundle,
        form: SegmentFormat,
        segments: Sequence[Sequence[Frame]],
        settings: Sequence[CompressionSetting],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """`settings` are those that will be asked for; `done` is told of every segment and setting."""
        self.bundle, self.form, self.count = bundle, form, len(segments)
        flags = CodecFlags.model_validate(bundle.manifest.codec)
        rate, best = Fraction(form.fps).limit_denominator(1000), bundle.ladder[0].setting
        self._audits = [encode_segment(frames[-1:], best, 1, flags) for frames in segments]
        self._bodies: dict[tuple[int, CompressionSetting], bytes] = {}
        for index, frames in enumerate(segments):
            for setting in settings:
                self._bodies[index, setting] = encode_segment(frames, setting, rate, flags)
                done()
        self._frames, self._estimates = segments, dict[int, SizeEstimate]()
        self._adapters: dict[tuple[Configuration, ...], AdapterPolicy] = {}

    def body(self, seq: int, configuration: Configuration) -> bytes:
        return self._bodies[seq % self.count, configuration.setting]

    def audit(self, seq: int) -> bytes:
        """The last frame alone, at the best setting."""
        return self._audits[seq % self.count]

    def estimate(self, seq: int) -> SizeEstimate:
        """What the bundle's estimator says of a segment, asked once."""
        index = seq % self.count
        if index not in self._estimates:
            entry = self.bundle.manifest.policy
            assert entry is not None
            self._estimates[index] = BitrateEstimator.of(self.bundle, entry.timing).estimate(
                self._frames[index]
            )
        return self._estimates[index]

    def adapter(self, configurations: Sequence[Configuration]) -> AdapterPolicy:
        """The bundle's policy, shared by all cameras: with the estimates given it remembers nothing."""
        ladder = tuple(configurations)
        if ladder not in self._adapters:
            self._adapters[ladder] = AdapterPolicy(self.bundle, ladder)
        return self._adapters[ladder]
