"""Audits: what the answered segments were really worth, found out for a few of them while there is room.

The server's coin chooses a segment before anything is known of it. Its answer then asks the camera for the
last frame at the best compression setting; variant 0 segments that while no segment waits, and the label map
that was answered is compared with it. The outcome corrects the camera's average deficit, counts in its
certified promise (`serving/promise.py`) and calibrates the predictions (`serving/calibration.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from random import SystemRandom

import numpy as np
from numpy.typing import NDArray

from clients.codec import DecodeLimits
from clients.protocol import LabelMaps, SegmentFormat
from configs.bundle import Bundle
from serving.calibration import Calibration
from serving.deployments.variant import SegmentJob
from serving.ingress.admission import BrownOut
from serving.ingress.dispatch import Dispatcher
from serving.ingress.inference import Inference
from serving.miou import frame_miou, overlap
from serving.problems import NotAsked, Overloaded, RequestProblem, StateUnavailable
from serving.promise import AuditOptions
from serving.state.audits import AuditStore
from serving.telemetry.segments import SegmentTelemetry

random = SystemRandom().random  # what cameras could foresee would prove nothing
MOST_WAITING = 16
PATIENCE_S = 30.0
IDLE_POLL_S = 0.05
CALIBRATION_S = 60.0

logger = logging.getLogger("ray.serve")


class Auditor:
    """Draws, takes and settles audits, and predicts by them; one instance an ingress replica."""

    def __init__(
        self,
        options: AuditOptions,
        bundle: Bundle,
        store: AuditStore,
        inference: Inference,
        dispatcher: Dispatcher,
        telemetry: SegmentTelemetry,
        coin: Callable[[], float] = random,
    ) -> None:
        self.options = options
        self._bundle, self._store, self._inference, self._dispatcher = bundle, store, inference, dispatcher
        self._telemetry, self._coin = telemetry, coin
        self._waiting: set[asyncio.Task[None]] = set()
        self._calibration: dict[int, Calibration] = {}
        self._read_at = -CALIBRATION_S

    def draw(self, level: BrownOut) -> bool | None:
        """Whether the next segment is audited; None where under pressure no audit is drawn at all."""
        return None if level >= BrownOut.AUDITS else self._coin() < self.options.share

    async def predict(self, variant: int, confidence: float) -> float:
        """The mIoU to expect, by what audits of this family have shown until a minute ago."""
        now = time.monotonic()
        if now - self._read_at >= CALIBRATION_S:
            self._read_at = now
            try:
                self._calibration = await self._store.calibration(self._bundle.family)
            except StateUnavailable:
                logger.warning("Predictions go on with the calibration that was read last.")
        return self._calibration.get(variant, Calibration()).predict(confidence)

    async def take(self, tenant: str, camera: str, seq: int, frame: bytes, segment: SegmentFormat) -> None:
        """Takes the frame of an audit in; the rest happens when there is room. Raises `NotAsked`."""
        answered = await self._store.asked(camera, seq)
        if answered is None:
            raise NotAsked(f"No audit of segment {seq} is asked for, or not any more. Send none for it.")
        if len(self._waiting) >= MOST_WAITING:
            raise Overloaded("Enough audits wait. This one counts as not sent.", 1)
        settling = asyncio.create_task(self._settle(tenant, camera, seq, frame, segment, answered))
        self._waiting.add(settling)
        settling.add_done_callback(self._waiting.discard)

    async def _settle(
        self, tenant: str, camera: str, seq: int, frame: bytes, segment: SegmentFormat, answered: str
    ) -> None:
        expires = time.time() + PATIENCE_S
        try:
            while not self._dispatcher.idle:
                if time.time() > expires:
                    return
                await asyncio.sleep(IDLE_POLL_S)
            limits = DecodeLimits(width=segment.width, height=segment.height, frames=1)
            job = SegmentJob(data=frame, expected=limits, masks="last", expires_at=expires)
            reference = await self._inference.segment(0, job, lambda: expires - time.time())
            assert reference.masks is not None
            measured = audited_miou(
                reference.masks, LabelMaps.model_validate_json(answered.partition("\n")[2])
            )
            variant, confidence = answered.partition("\n")[0].split(" ")
            if verdict := await self._store.settle(camera, seq, measured):
                await self._telemetry.audited(tenant, met=verdict == "met")
                await self._store.calibrate(self._bundle.family, int(variant), float(confidence), measured)
        except RequestProblem as problem:
            logger.info(
                "An audit of segment %d of camera %s came to nothing: %s", seq, camera, problem.detail
            )


def audited_miou(reference: LabelMaps, answered: LabelMaps) -> float:
    """mIoU of the last frame's label map that was answered, brought to the reference's size."""
    truth, prediction = reference.unpack()[-1], answered.unpack()[-1]
    counts = overlap(truth, _resized(prediction, truth.shape), int(max(truth.max(), prediction.max())) + 1)
    return float(frame_miou(counts, 0.001))


def _resized(labels: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Nearest neighbours: (height, width) class ids at another size."""
    rows = np.arange(shape[0]) * labels.shape[0] // shape[0]
    columns = np.arange(shape[1]) * labels.shape[1] // shape[1]
    resized: NDArray[np.uint8] = labels[rows[:, None], columns]
    return resized
