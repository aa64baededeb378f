"""All that a camera has of one bundle: ladder, classes, codec, policy, and what it remembers of its answers.

A camera has one epoch at a time and changes it as a whole, between two segments. So an embedding, a
correction or the size of a segment never meets a policy of another bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clients.codec import CodecFlags
from clients.embedding import Embedding
from clients.policy import Choice, Feedback, Observation, Policy
from clients.protocol import Registered, SegmentAnswer
from clients.source import Frame
from configs.bundle import Bundle
from configs.ladder import Configuration


@dataclass(frozen=True, slots=True)
class Terms:
    """What a bundle says to everybody, known before any of its files is there."""

    bundle: str
    configurations: tuple[Configuration, ...]
    costs: tuple[float, ...]
    classes: tuple[str, ...]
    codec: CodecFlags

    @classmethod
    def registered(cls, registered: Registered) -> Terms:
        """Those that a registration gave."""
        rungs = registered.ladder
        return cls(
            registered.bundle,
            tuple(Configuration(e.configuration, e.scale, e.qp, e.variant) for e in rungs),
            tuple(e.cost for e in rungs),
            registered.classes,
            CodecFlags.model_validate(registered.codec),
        )

    @classmethod
    def of(cls, bundle: Bundle) -> Terms:
        """Those of a bundle that was fetched."""
        codec = CodecFlags.model_validate(bundle.manifest.codec)
        return cls(bundle.id, bundle.ladder.configurations, bundle.costs, bundle.manifest.classes, codec)


@dataclass
class Epoch:
    """Not thread-safe: the camera's lock guards it."""

    terms: Terms
    policy: Policy
    latest: tuple[int, int, Embedding] | None = None  # seq, configuration, embedding
    correction: float = 0.0
    last_configuration: int | None = None
    last_bytes: int | None = None

    @property
    def bundle(self) -> str:
        return self.terms.bundle

    def choose(
        self, seq: int, frames: Sequence[Frame], target_miou: float, bandwidth: float | None
    ) -> tuple[Choice, int | None]:
        """The choice for a segment, and the seq whose embedding it went by."""
        feedback = made_by = None
        if self.latest is not None:
            made_by, configuration, embedding = self.latest
            feedback = Feedback(embedding, configuration, seq - made_by)
        observation = Observation(
            target_miou,
            bandwidth,
            feedback,
            self.last_configuration,
            frames,
            self.correction,
            self.last_bytes,
        )
        choice = self.policy.choose(observation)
        self.last_configuration, self.last_bytes = choice.configuration, None
        return choice, made_by

    def learn(self, answer: SegmentAnswer) -> None:
        """Keeps what an answer of this bundle gives for the choices that follow; another's is passed over."""
        if answer.bundle != self.bundle:
            return
        if not answer.replayed:
            self.correction = answer.correction
        if answer.embedding is not None:
            values = np.asarray(answer.embedding, np.float32)
            self.latest = (answer.seq, answer.configuration, Embedding(answer.bundle, values))


def on_ladder(configuration: Configuration, ladder: Sequence[Configuration]) -> int:
    """The index of a configuration of any ladder on this one; the most expensive where it is not there, so
    that no cost is told too low."""
    rung = (configuration.scale, configuration.qp, configuration.variant)
    return next((c.index for c in ladder if (c.scale, c.qp, c.variant) == rung), 0)
