"""What runs on the camera, measured there (paper, 4.2.4, Table 2): FLOPs, and run time with one thread."""

from __future__ import annotations

import statistics
import time

import av
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from clients.bitrate import BitrateEstimator
from clients.luma import half_luma
from clients.scene import StreetScene
from clients.source import Frame
from configs.bundle import Bundle
from configs.timing import SegmentTiming
from rl.bitrate.errors import Row
from rl.processor import describe_processor

REPEATS = 20


class OverheadRow(Row):
    """One estimator on one machine; times are medians over segments, in milliseconds."""

    timing: str
    mflops: float
    resize_ms: float
    estimate_ms: float  # resizing included
    bundle: str
    processor: str


def measure_overhead(bundle: Bundle, timing: SegmentTiming) -> OverheadRow:
    """Runs the camera's own estimator on a generated street. Raises `BundleError` where there is none."""
    estimator = BitrateEstimator.of(bundle, timing)
    frames = _segment(timing)
    resize, whole = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        luma = half_luma(frames)
        resized = time.perf_counter()
        estimator.estimate_luma(luma)
        whole.append(time.perf_counter() - started)
        resize.append(resized - started)
    return OverheadRow(
        timing=str(timing),
        mflops=estimator.calibration.flops / 1e6,
        resize_ms=1e3 * statistics.median(resize),
        estimate_ms=1e3 * statistics.median(whole),
        bundle=bundle.id,
        processor=describe_processor(),
    )


def overhead_table(rows: list[OverheadRow]) -> Table:
    """Table 2's first column."""
    table = Table(
        title=f"Bitrate estimator of {rows[0].bundle}, one thread, on {rows[0].processor}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("segments", "MFLOPs", "resizing, ms", "in all, ms"):
        table.add_column(name, justify="left" if name == "segments" else "right")
    for row in rows:
        table.add_row(row.timing, f"{row.mflops:.2f}", f"{row.resize_ms:.1f}", f"{row.estimate_ms:.1f}")
    return table


def _segment(timing: SegmentTiming) -> list[Frame]:
    """Frames as a source gives them: YUV, 1280x720."""
    scene = StreetScene()
    frames: list[Frame] = []
    for index in range(timing.frames):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(scene.frame(index / timing.fps)), "rgb24")
        frames.append(picture.reformat(format="yuv420p"))
    return frames
