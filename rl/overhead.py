"""What runs on the camera, measured there (paper, 4.2.4, Table 2): FLOPs, and run time with one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import av
import numpy as np
import onnx
from rich.box import SIMPLE_HEAD
from rich.table import Table

from clients.adapter import AdapterPolicy
from clients.bitrate import BitrateEstimator
from clients.embedding import Embedding
from clients.luma import half_luma
from clients.policy import Feedback, Observation
from clients.scene import StreetScene
from clients.source import Frame
from configs.bundle import Bundle
from configs.timing import SegmentTiming
from rl.bitrate.errors import Row
from rl.processor import describe_processor

REPEATS = 20
TARGET, BANDWIDTH = 0.65, 0.6


class OverheadRow(Row):
    """One part on one machine; times are medians over segments, in milliseconds."""

    part: str
    timing: str
    mflops: float
    halving_ms: float | None  # of `milliseconds`: what it takes to halve the frames
    milliseconds: float
    bundle: str
    processor: str


def measure_overhead(bundle: Bundle) -> list[OverheadRow]:
    """Runs the camera's own estimators on a generated street, and its adapter where the bundle has one, alone
    and with its estimator. Raises `ValueError` where there is no estimator."""
    if not bundle.manifest.estimators:
        raise ValueError(f"{bundle.id} has no bitrate estimator: train one with penance-train bitrate")
    rows = [_estimator_row(bundle, entry.timing) for entry in bundle.manifest.estimators]
    if bundle.manifest.policy is not None:
        rows += _adapter_rows(bundle)
    return rows


def overhead_table(rows: list[OverheadRow]) -> Table:
    """Table 2's columns, as rows."""
    table = Table(
        title=f"On a camera with {rows[0].bundle}, one thread, on {rows[0].processor}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("", "segments", "MFLOPs", "halving frames, ms", "in all, ms"):
        table.add_column(name, justify="left" if name in ("", "segments") else "right")
    for row in rows:
        halving = "" if row.halving_ms is None else f"{row.halving_ms:.1f}"
        table.add_row(row.part, row.timing, f"{row.mflops:.2f}", halving, f"{row.milliseconds:.1f}")
    return table


def _estimator_row(bundle: Bundle, timing: SegmentTiming) -> OverheadRow:
    estimator, frames = BitrateEstimator.of(bundle, timing), _segment(timing)
    return OverheadRow(
        part="bitrate estimator",
        timing=str(timing),
        mflops=estimator.calibration.flops / 1e6,
        halving_ms=_median(lambda: half_luma(frames)),
        milliseconds=_median(lambda: estimator.estimate(frames)),
        bundle=bundle.id,
        processor=describe_processor(),
    )


def _adapter_rows(bundle: Bundle) -> list[OverheadRow]:
    """The adapter with the state that it is given, and a whole decision."""
    entry = bundle.manifest.policy
    assert entry is not None
    policy, seen = AdapterPolicy(bundle, bundle.ladder.configurations), seen_segment(bundle)
    estimate = policy.estimate(seen)
    adapter = count_layers(onnx.load(bundle.path(entry.model))) / 1e6
    estimator = BitrateEstimator.of(bundle, entry.timing).calibration.flops / 1e6
    parts = {
        "adapter": (adapter, lambda: policy.decide(seen, estimate)),
        "decision": (adapter + estimator, lambda: policy.choose(seen)),
    }
    return [
        OverheadRow(
            part=part,
            timing=str(entry.timing),
            mflops=mflops,
            halving_ms=None,
            milliseconds=_median(run),
            bundle=bundle.id,
            processor=describe_processor(),
        )
        for part, (mflops, run) in parts.items()
    ]


def seen_segment(bundle: Bundle) -> Observation:
    """What the bundle's policy is asked about while its camera runs. Raises `ValueError` without a policy."""
    entry = bundle.manifest.policy
    if entry is None:
        raise ValueError(f"{bundle.id} has no policy: train one with penance-train adapter")
    embedding = Embedding(bundle.id, np.zeros(entry.embedding, np.float32))
    feedback = Feedback(embedding, configuration=0, age=1) if entry.embedding else None
    return Observation(TARGET, BANDWIDTH, feedback, 0, _segment(entry.timing))


def count_layers(model: onnx.ModelProto) -> int:
    """FLOPs of fully connected layers on one input, 2 per weight."""
    weights = (tensor.dims for tensor in model.graph.initializer)
    return sum(2 * dims[0] * dims[1] for dims in weights if len(dims) == 2)


def _median(run: Callable[[], object]) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return 1e3 * statistics.median(taken)


def _segment(timing: SegmentTiming) -> list[Frame]:
    """Frames as a source gives them: YUV, 1280x720."""
    scene = StreetScene()
    frames: list[Frame] = []
    for index in range(timing.frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene.frame(index / timing.fps)), "rgb24")
        frames.append(picture.reformat(format="yuv420p"))
    return frames
