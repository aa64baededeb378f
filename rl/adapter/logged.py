"""What live cameras logged, as learning needs it: each choice with its state and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from clients.adapter import HIGHEST_TARGET, STALE
from clients.state import NONE, SeenStates, StateLayout
from clients.transitions import (
    TRANSITION_LINE,
    AuditedTransition,
    Transition,
    unpack_embedding,
    unpack_seen,
)
from configs.faults import describe_faults
from serving.miou import Floats

LEAST = 50
"""Segments below which nothing is learnt."""


@dataclass(frozen=True)
class LiveSegments:
    """What was logged of n segments, each with the state that its choice was made in."""

    seen: SeenStates
    states: NDArray[np.float32]  # (n, width)
    target: Floats  # (n,) what was promised; what the policy is told has its margin on it
    choices: NDArray[np.int64]  # (n,)
    probabilities: Floats  # (n,) with which they were chosen
    accuracy: Floats  # (n,) mIoU, audited or predicted
    audits: int  # among them

    def __len__(self) -> int:
        return len(self.choices)


def read_transitions(path: Path) -> list[Transition | AuditedTransition]:
    """The lines that `GET /v1/transitions` gives. Raises `ValueError` with the number of a wrong line."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            lines.append(TRANSITION_LINE.validate_json(text))
        except ValidationError as error:
            raise ValueError(f"{path}, line {number}: {describe_faults(error)}") from error
    return lines


def live_segments(
    lines: Iterable[Transition | AuditedTransition],
    layout: StateLayout,
    margin: float,
    bundle: str | None = None,
) -> LiveSegments:
    """Every logged segment whose state is known, and that `bundle` answered; None takes those of any. Lines
    of versions that named none count as its own. Raises `ValueError` for too few, or for an estimate or an
    embedding of another bundle."""
    cameras: dict[str, list[Transition]] = {}
    audits: dict[tuple[str, int], float] = {}
    passed_over = 0
    for line in lines:
        if isinstance(line, AuditedTransition):
            audits[line.camera, line.seq] = line.miou
        elif bundle is None or line.bundle in ("", bundle):
            cameras.setdefault(line.camera, []).append(line)
        else:
            passed_over += 1
    rows, accuracy, audited = [], [], 0
    for camera, own in cameras.items():
        usable = [line for line in own if line.probability and line.seen and line.bandwidth]
        embeddings = {line.seq: line for line in own if line.embedding}
        found = {line.seq: audits[camera, line.seq] for line in own if (camera, line.seq) in audits}
        shift = _shift(own, found)
        for line in usable:
            predicted = predicted_miou(line)
            if line.seq not in found and predicted is None:
                continue
            rows.append((line, _source(line, embeddings)))
            accuracy.append(found.get(line.seq, (predicted or 0.0) + shift))
            audited += line.seq in found
    if len(rows) < LEAST:
        raise ValueError(
            f"{len(rows)} segments tell what their policy saw and chose with which probability, at least "
            f"{LEAST} are needed: let cameras explore (penance-camera --explore 0.2) and go on for longer"
            + (f"; {passed_over} segments were answered by other bundles" if passed_over else "")
        )
    seen = _states(rows, layout, margin)
    return LiveSegments(
        seen=seen,
        states=layout.encode(seen),
        target=np.array([line.target for line, _ in rows]),
        choices=np.array([line.configuration for line, _ in rows]),
        probabilities=np.array([line.probability for line, _ in rows]),
        accuracy=np.clip(accuracy, 0.0, 1.0),
        audits=audited,
    )


def _source(line: Transition, embeddings: dict[int, Transition]) -> Transition | None:
    """The segment whose embedding the policy went by; None where it had none that was fresh enough."""
    source = None if line.feedback is None else embeddings.get(line.feedback)
    return None if source is None or line.seq - source.seq > STALE else source


def predicted_miou(line: Transition) -> float | None:
    """What the accuracy head said of a segment; None where it said nothing."""
    return None if line.deficit is None else line.target - line.deficit


def _shift(own: Iterable[Transition], audited: dict[int, float]) -> float:
    """By how much audits found more accuracy than was predicted, on average; 0 without any."""
    wrong = [
        audited[line.seq] - predicted
        for line in own
        if line.seq in audited and (predicted := predicted_miou(line)) is not None
    ]
    return float(np.mean(wrong)) if wrong else 0.0


def _states(
    rows: list[tuple[Transition, Transition | None]], layout: StateLayout, margin: float
) -> SeenStates:
    """What each choice was made in, as far as the lines tell: corrections by audits are not among it."""
    sizes, features, embeddings, made_by, age = [], [], [], [], []
    width, blank = layout.widths["embedding"], np.zeros(layout.widths["embedding"], np.float32)
    for line, source in rows:
        estimated, seen = unpack_seen(line.seen, layout.settings)
        if len(seen) != layout.widths["features"]:
            raise ValueError(
                f"segment {line.seq} of {line.camera} was estimated with {len(seen)} features, the policy "
                f"knows {layout.widths['features']}: give the policy that these cameras ran"
            )
        if line.configuration >= len(layout.described) - 1:
            raise ValueError(
                f"segment {line.seq} of {line.camera} was sent at configuration {line.configuration}, which "
                "is not on the bundle's ladder: give the bundle that these cameras ran"
            )
        embedding = blank if source is None else unpack_embedding(source.embedding)[:width]
        if len(embedding) != width:
            raise ValueError(
                f"segment {line.seq} of {line.camera} went by {len(embedding)} embedding values, the policy "
                f"knows {width}: give the policy that these cameras ran"
            )
        sizes.append(estimated)
        features.append(seen)
        embeddings.append(embedding)
        made_by.append(NONE if source is None else source.configuration)
        age.append(0 if source is None else line.seq - source.seq)
    return SeenStates(
        target=np.clip([line.target + margin for line, _ in rows], 0.0, HIGHEST_TARGET),
        bandwidth=np.array([line.bandwidth for line, _ in rows]),
        bytes=np.stack(sizes),
        embedding=np.stack(embeddings).astype(np.float32),
        made_by=np.array(made_by),
        age=np.array(age),
        features=np.stack(features).astype(np.float32),
    )
