"""What chooses the configuration of the next segment, and what it gets to see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clients.embedding import Embedding
from configs.ladder import Configuration

if TYPE_CHECKING:
    from clients.source import Frame
    from configs.bundle import Bundle


@dataclass(frozen=True, slots=True)
class Feedback:
    """The embedding of the latest answered segment, never apart from what made it."""

    embedding: Embedding
    configuration: int
    age: int  # segments between the one that made it and the one now being chosen for; 1 is the freshest


@dataclass(frozen=True, slots=True)
class Observation:
    """What a policy sees before a segment is compressed."""

    target_miou: float
    bandwidth: float | None  # MB/s, measured on this camera's own uploads; None before the first
    feedback: Feedback | None  # None before the first answer, or while the bundle has no encoder
    last_configuration: int | None
    frames: Sequence[Frame] = ()  # of the segment to come
    correction: float = 0.0  # by how much audits of this camera found more accuracy than was predicted
    last_bytes: int | None = None  # what the segment before came to, if it was compressed


@dataclass(frozen=True, slots=True)
class Choice:
    """A configuration, by its index on the ladder; the probability with which it was given; what the policy
    saw of the segment to come, packed (`clients.transitions`), empty where it saw nothing; and the bytes that
    it expects."""

    configuration: int
    probability: float = 1.0
    seen: str = ""
    estimated_bytes: float | None = None


class Policy(Protocol):
    """Chooses configurations; asked once per segment, one question at a time."""

    def choose(self, observation: Observation) -> Choice:
        """The next segment's configuration."""
        ...


AUTO = "auto"
"""The learnt policy of the server's bundle where it has one for such segments, else the best
configuration."""

PolicyFactory = Callable[[Sequence[Configuration]], Policy]


class FixedPolicy:
    """Always the same configuration."""

    def __init__(self, configuration: int) -> None:
        self.configuration = configuration

    def choose(self, observation: Observation) -> Choice:
        return Choice(self.configuration)


class RoundRobinPolicy:
    """Cycles over the whole ladder, well spread: neighbours in time differ in variant and in setting.

    Segment k takes variant k mod V and walks the n compression settings with a stride coprime to n of
    about 0.4 n; one extra step per lcm(V, n) segments makes every V n segments cover each configuration once.
    """

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        settings = list(dict.fromkeys(c.setting for c in configurations))
        variants = sorted({c.variant for c in configurations})
        by_rung = {(c.setting, c.variant): c.index for c in configurations}
        if len(by_rung) != len(settings) * len(variants):
            raise ValueError("round-robin needs a full ladder: every variant at every compression setting")
        n, turn = len(settings), math.lcm(len(settings), len(variants))
        stride = min((s for s in range(1, n + 1) if math.gcd(s, n) == 1), key=lambda s: abs(s - 0.4 * n))
        self._order = [
            by_rung[settings[(k * stride + k // turn) % n], variants[k % len(variants)]]
            for k in range(len(by_rung))
        ]
        self._next = 0

    def choose(self, observation: Observation) -> Choice:
        index = self._order[self._next % len(self._order)]
        self._next += 1
        return Choice(index)


def parse_policy(text: str, explore: float = 0.0, fetch: Callable[[], Bundle] | None = None) -> PolicyFactory:
    """Reads `fixed:INDEX`, `fixed:SCALE/QP/VARIANT`, `round-robin`, `adapter` or `adapter:BUNDLE`;
    `ValueError` names what is allowed.

    fetch: gives the server's bundle, whose policy `adapter` is; else it is that of the bundle that ships.
    explore: share of segments for which an adapter draws any configuration that it takes to fit, so that
        learning from its stream sees what else there is; other policies know no such thing.

    The ladder comes from the server, so the result is a factory; it raises `ValueError` for a configuration
    that is not on that ladder, and `BundleError`, which is one, where the bundle has no policy for it.
    """
    kind, _, argument = text.partition(":")
    if not 0 <= explore < 1:
        raise ValueError(f"a share of 0 to below 1 can be explored with, got {explore}")
    if kind == "adapter":
        from clients.adapter import AdapterPolicy  # needs ONNX Runtime
        from configs.bundle import DEFAULT_BUNDLE, Bundle

        def load() -> Bundle:
            return Bundle.load(Path(argument) if argument else DEFAULT_BUNDLE)

        given = load if argument or fetch is None else fetch
        return lambda configurations: AdapterPolicy(given(), configurations, explore)
    if kind == "round-robin" and not argument:
        return RoundRobinPolicy
    try:
        parts = argument.split("/")
        if kind == "fixed" and len(parts) == 1:
            index = int(argument)
            return lambda configurations: FixedPolicy(_on_ladder(configurations, index))
        if kind == "fixed" and len(parts) == 3:
            rung = float(parts[0]), int(parts[1]), int(parts[2])
            return lambda configurations: FixedPolicy(_find(configurations, *rung))
    except ValueError:
        pass  # a number that is none: the one message below says what is expected
    raise ValueError(
        f"policy {text!r} is unknown: give auto, adapter, adapter:BUNDLE, round-robin, fixed:INDEX or "
        "fixed:SCALE/QP/VARIANT"
    )


def checked_policy(text: str, explore: float = 0.0) -> str:
    """The text, if a camera can be given it as its policy; else `ValueError`."""
    if text != AUTO:
        parse_policy(text, explore)
    return text


def _on_ladder(configurations: Sequence[Configuration], index: int) -> int:
    if not 0 <= index < len(configurations):
        raise ValueError(f"configuration {index} is not on the ladder: give 0 to {len(configurations) - 1}")
    return index


def _find(configurations: Sequence[Configuration], scale: float, qp: int, variant: int) -> int:
    for c in configurations:
        if (c.scale, c.qp, c.variant) == (scale, qp, variant):
            return c.index
    scales, qps = sorted({c.scale for c in configurations}), sorted({c.qp for c in configurations})
    variants = sorted({c.variant for c in configurations})
    raise ValueError(
        f"{scale:g}/{qp}/{variant} is not on the ladder: scales {scales}, QPs {qps}, variants {variants}"
    )
