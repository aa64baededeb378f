"""The learnt policy on a camera: bitrate estimator, state, adapter; ONNX Runtime with one thread (paper,
3.4).

It works with whatever feedback there is: training had answers that came late and none at all. What it cannot
work without is a bandwidth; until the first upload has been measured, it sends little and asks for the most
accurate variant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clients.bitrate import BitrateEstimator, SizeEstimate
from clients.inference import one_thread_session
from clients.policy import Choice, Feedback, Observation
from clients.state import NEVER, NONE, SeenStates, StateLayout
from clients.transitions import pack_seen
from configs.bundle import Bundle, BundleError
from configs.ladder import Configuration

STALE = 10
"""Feedback older than this says nothing of the scene any more."""

HIGHEST_TARGET = 0.999


class AdapterPolicy:
    """Chooses for one camera; not thread-safe. Ask once for each segment, in order."""

    def __init__(
        self,
        bundle: Bundle,
        configurations: Sequence[Configuration],
        explore: float = 0.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        """`explore` is the share of segments for which any configuration that is estimated to fit is drawn.
        Raises `BundleError` where the bundle has no policy or no estimator, or the server another
        ladder."""
        entry = bundle.manifest.policy
        if entry is None:
            raise BundleError(
                f"{bundle.id} has no policy: train one with penance-train adapter, or take a bundle that "
                "has it"
            )
        if tuple(configurations) != bundle.ladder.configurations:
            raise BundleError(
                f"the server's ladder is not that of {bundle.id}: give the bundle that the server has in "
                "force"
            )
        self._estimator = BitrateEstimator.of(bundle, entry.timing)
        self._session = one_thread_session(bundle.path(entry.model))
        self._explore, self._rng = explore, rng or np.random.default_rng()
        self.bundle = bundle.id
        self._entry, self._variants = entry, len(bundle.ladder.variants)
        width = self._session.get_inputs()[0].shape[1]
        base = StateLayout(configurations, entry.embedding, 0, entry.timing.seconds)
        self._layout = StateLayout(configurations, entry.embedding, width - base.width, entry.timing.seconds)

    def choose(self, observation: Observation) -> Choice:
        """The likeliest configuration, or one that is drawn; without a bandwidth the dense variant at the
        smallest setting. Raises `BundleError` for feedback of another bundle."""
        return self.decide(observation, self.estimate(observation))

    def decide(self, observation: Observation, estimate: SizeEstimate) -> Choice:
        """The same, where the segment's bytes have been estimated already."""
        if observation.bandwidth is None:
            smallest = int(estimate.bytes.argmin())
            return Choice(smallest * self._variants, estimated_bytes=float(estimate.bytes[smallest]))
        state = self._layout.encode(self._seen(observation, observation.bandwidth, estimate))
        logits = self._session.run(None, {"state": state})[0]
        chosen, probability = drawn(logits[0], self._explore, self._rng)
        seen = pack_seen(estimate.bytes, estimate.features)
        return Choice(chosen, probability, seen, float(estimate.bytes[chosen // self._variants]))

    def estimate(self, observation: Observation) -> SizeEstimate:
        """Bytes of the segment to come, corrected by what the one before came to. Once for each segment."""
        if observation.last_bytes is not None and observation.last_configuration is not None:
            self._estimator.observe(observation.last_configuration // self._variants, observation.last_bytes)
        return self._estimator.estimate(observation.frames)

    def _seen(self, observation: Observation, bandwidth: float, estimate: SizeEstimate) -> SeenStates:
        feedback = usable(observation.feedback, self._entry.embedding)
        embedding = (
            np.zeros(self._entry.embedding, np.float32)
            if feedback is None
            else feedback.embedding.of(self.bundle)
        )
        # Where predictions are wrong about a street, so is the policy: both go by the same embeddings.
        told = observation.target_miou + self._entry.margin - observation.correction
        return SeenStates(
            target=np.array([np.clip(told, 0.0, HIGHEST_TARGET)]),
            bandwidth=np.array([bandwidth]),
            bytes=estimate.bytes[None],
            embedding=np.asarray(embedding, np.float32)[None, : self._entry.embedding],
            made_by=np.array([NONE if feedback is None else feedback.configuration]),
            age=np.array([0 if feedback is None else feedback.age]),
            features=estimate.features[None],
        )


def drawn(logits: NDArray[np.float32], explore: float, rng: np.random.Generator) -> tuple[int, float]:
    """An index and the probability with which it is given: the highest logit's, but with `explore` any that
    is not masked. logits: (configurations,)."""
    best, allowed = int(logits.argmax()), np.flatnonzero(logits > NEVER)
    chosen = int(rng.choice(allowed)) if explore and rng.random() < explore else best
    return chosen, (1 - explore) * (chosen == best) + explore / len(allowed)


def usable(feedback: Feedback | None, embedding: int) -> Feedback | None:
    """Feedback that a policy trained on this many embedding values can go by; None if it is too old or of
    another encoder."""
    if feedback is None or feedback.age > STALE:
        return None
    return feedback if not embedding or len(feedback.embedding.values) == embedding else None
