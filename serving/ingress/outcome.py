"""A segment on its way: what a request asks for, what became of it, and the answer that this makes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clients.protocol import LabelMaps, MaskMode, SegmentAnswer, Timings
from configs.bundle import Bundle
from serving.ingress.inference import Inferred
from serving.state.transitions import UNTOLD, Decision


@dataclass(slots=True)
class SegmentRequest:
    """One upload, validated. Times are `time.perf_counter` seconds; bandwidth in megabytes per second.
    `at_work` says that it has left the queue: from then on it is finished, whoever hangs up."""

    tenant: str
    camera: str
    seq: int
    bundle: Bundle
    configuration: int
    bandwidth: float | None
    target: float | None
    deadline_s: float | None
    masks: MaskMode
    dropped: tuple[tuple[int, int], ...]
    body: bytes
    arrived: float
    received: float
    captured_at: float | None = None
    decision: Decision = UNTOLD
    at_work: bool = False

    def remaining_s(self, longest_s: float) -> float:
        allowed = longest_s if self.deadline_s is None else min(self.deadline_s, longest_s)
        return allowed - (time.perf_counter() - self.arrived)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a segment, ready to be answered and committed. `aim` is the target that the camera shall
    choose its next configurations by; `correction` what the camera's audits say of `predicted`; `drawn`
    whether it is audited, None where no audit could be drawn; `masks` the label maps that its camera gets,
    and `kept` which of those that were made its tenant keeps for readers; `follow` the bundle that
    it is to change to, if any."""

    inferred: Inferred
    target: float
    flops: int
    predicted: float
    correction: float
    drawn: bool | None
    aim: float
    shed: tuple[Literal["label-maps"], ...]
    state_ms: float
    queue_ms: float
    masks: LabelMaps | None
    kept: MaskMode
    follow: str | None = None


def segment_answer(request: SegmentRequest, outcome: Outcome) -> SegmentAnswer:
    """The answer as it is stored and given; its total ends here, before the commit."""
    done, inferred = time.perf_counter(), outcome.inferred
    result, encoding = inferred.segmentation, inferred.encoding
    bundle = request.bundle
    names = bundle.manifest.classes
    return SegmentAnswer(
        seq=request.seq,
        configuration=request.configuration,
        bundle=encoding.bundle,
        bundle_wanted=outcome.follow,
        embedding=encoding.embedding if encoding.trained else None,
        predicted_miou=outcome.predicted,
        correction=outcome.correction,
        cost=bundle.costs[request.configuration],
        class_shares={
            name: share for name, share in zip(names, result.class_shares, strict=True) if share > 0
        },
        timings_ms=Timings(
            receive=(request.received - request.arrived) * 1e3,
            state=outcome.state_ms,
            queue=outcome.queue_ms + max(0.0, inferred.segment_ms - result.busy_ms),
            decode=result.decode_ms,
            infer=result.infer_ms,
            embed=inferred.embed_ms,
            total=(done - request.arrived) * 1e3,
        ),
        masks=outcome.masks,
        audit=bool(outcome.drawn),
        target_miou=outcome.aim,
        shed=outcome.shed,
    )


def segment_result(request: SegmentRequest, answer: SegmentAnswer, target: float) -> str:
    """The answer as those get it who read along: a `Result` as JSON, without what only the commit knows."""
    known: dict[str, Any] = answer.model_dump(
        include={"seq", "bundle", "configuration", "cost", "class_shares", "timings_ms"}
    )
    predicted = answer.predicted_miou
    known["predicted_miou"] = None if predicted is None else min(1.0, max(0.0, predicted + answer.correction))
    known |= {"target_miou": target, "captured_at": request.captured_at}
    return json.dumps(known | {"bytes": len(request.body), "bandwidth": request.bandwidth})


def audit_map(request: SegmentRequest, outcome: Outcome) -> str:
    """What an audit of this segment is held against: variant, confidence, bundle, the last frame's map."""
    masks, encoding = outcome.inferred.segmentation.masks, outcome.inferred.encoding
    assert masks is not None
    variant = request.bundle.ladder[request.configuration].variant
    return f"{variant} {encoding.confidence:.17g} {request.bundle.id}\n{masks.last().model_dump_json()}"


def wanted_masks(asked: MaskMode, kept: MaskMode, audited: bool) -> MaskMode:
    """Which label maps a variant makes: what the camera asked for and its tenant keeps, and the last frame's
    where the segment is audited."""
    return max(asked, kept, "last" if audited else "none", key=get_args(MaskMode).index)
