"""What a run came to: one JSON object per segment (`--log`) and one for the whole run (`--summary`)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from clients.errors import CameraError
from clients.segment import SegmentResult
from configs.ladder import Configuration


def segment_record(result: SegmentResult) -> dict[str, Any]:
    """One segment as JSON: everything but frames, label maps and the embedding's numbers."""
    answer = result.answer
    chosen = result.configuration
    return {
        "seq": result.seq,
        "configuration": chosen.index,
        "scale": chosen.scale,
        "qp": chosen.qp,
        "variant": chosen.variant,
        "bundle": result.bundle,
        "captured_at": result.captured_at,
        "bytes": result.bytes,
        "estimated_bytes": result.estimated_bytes,
        "dropped": result.dropped,
        "detail": result.detail,
        "attempts": result.attempts,
        "bandwidth": result.bandwidth,
        "encode_ms": result.encode_ms,
        "upload_ms": result.upload_ms,
        "round_trip_ms": result.round_trip_ms,
        "latency_ms": result.latency_ms,
        "cost": answer.cost if answer else None,
        "predicted_miou": answer.predicted_miou if answer else None,
        "target_miou": answer.target_miou if answer else None,
        "replayed": answer.replayed if answer else None,
        "class_shares": answer.class_shares if answer else None,
        "timings_ms": answer.timings_ms.model_dump() if answer else None,
    }


class SegmentLog:
    """A file of JSON lines, written line by line. Raises `CameraError` if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise CameraError(f"cannot write {path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, result: SegmentResult) -> None:
        self._file.write(json.dumps(segment_record(result)) + "\n")


class Summary:
    """Totals of a run. `cost` gives the normalised cost of a configuration."""

    def __init__(self, cost: Callable[[Configuration], float]) -> None:
        self._cost = cost
        self.sent = self.answered = self.dropped = self.bytes = 0
        self._stages: defaultdict[str, list[float]] = defaultdict(list)
        self._answered_costs: list[float] = []
        self._costs: list[float] = []
        self._configurations: Counter[int] = Counter()
        self._variants: Counter[int] = Counter()
        self._reasons: Counter[str] = Counter()
        self._estimate_errors: list[float] = []
        self._predicted: list[float] = []
        self._below = 0  # predicted to be below target

    def add(self, result: SegmentResult) -> None:
        self.sent += result.attempts > 0
        self._configurations[result.configuration.index] += 1
        self._variants[result.configuration.variant] += 1
        for stage in ("encode", "upload", "round_trip", "latency"):
            milliseconds = getattr(result, f"{stage}_ms")
            if milliseconds is not None:
                self._stages[stage].append(milliseconds)
        if result.bytes and result.estimated_bytes is not None:
            self._estimate_errors.append(abs(result.estimated_bytes / result.bytes - 1))
        if result.answer is None:
            self.dropped += 1
            self._reasons[result.dropped or "unanswered"] += 1
            self._costs.append(self._cost(result.configuration))
            return
        self.answered += 1
        self.bytes += result.bytes or 0
        self._costs.append(result.answer.cost)
        self._answered_costs.append(result.answer.cost)
        predicted, target = result.answer.predicted_miou, result.answer.target_miou
        if predicted is not None and target is not None:
            self._predicted.append(predicted)
            self._below += predicted < target
        for stage, milliseconds in result.answer.timings_ms.model_dump().items():
            self._stages[stage].append(milliseconds)

    def figures(self) -> dict[str, Any]:
        """The summary as JSON. `mean_cost` counts dropped segments at the configuration that was chosen;
        `estimate_error` is relative, of the bytes that a learnt policy estimated before compressing.
        Latencies are in milliseconds: `latency` from the last frame's capture to the answer in hand,
        `encode`, `upload` and `round_trip` as the camera saw them, the others as the server did."""
        return {
            "segments_sent": self.sent,
            "segments_answered": self.answered,
            "segments_dropped": self.dropped,
            "dropped_by_reason": dict(self._reasons),
            "bytes_answered": self.bytes,
            "latency_ms": {stage: _percentiles(values) for stage, values in self._stages.items()},
            "mean_cost": float(np.mean(self._costs)) if self._costs else None,
            "mean_cost_answered": float(np.mean(self._answered_costs)) if self._answered_costs else None,
            "estimate_error": _percentiles(self._estimate_errors) if self._estimate_errors else None,
            "mean_predicted_miou": float(np.mean(self._predicted)) if self._predicted else None,
            "predicted_below_target": self._below / len(self._predicted) if self._predicted else None,
            "configuration_histogram": {str(k): n for k, n in sorted(self._configurations.items())},
            "variant_histogram": {str(k): n for k, n in sorted(self._variants.items())},
        }

    def line(self) -> str:
        """The summary in one line for people."""
        text = f"{self.answered} segments answered, {self.dropped} dropped, {self.bytes / 1e6:.2f} MB"
        if self._costs:
            text += f", mean cost {np.mean(self._costs):.3f}"
        if self._stages["latency"]:
            median = _percentiles(self._stages["latency"])["p50"]
            text += f", median latency {median:.0f} ms"
        if self._predicted:
            text += f", predicted mIoU {np.mean(self._predicted):.2f} ({self._below} below target)"
        if self._estimate_errors:
            text += f", sizes estimated within {np.median(self._estimate_errors):.0%} (median)"
        return text

    def write(self, path: Path) -> None:
        try:
            path.write_text(json.dumps(self.figures(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise CameraError(f"cannot write {path}: {error.strerror}") from error


def _percentiles(values: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": float(p50), "p95": float(p95)}
