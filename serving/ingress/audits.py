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
from contextlib import suppress
from random import SystemRandom

import numpy as np
from numpy.typing import NDArray

from clients.codec import DecodeLimits
from clients.protocol import LabelMaps, SegmentFormat
from configs.bundle import Bundle
from serving.bundles.served import ServedBundles
from serving.calibration import Calibration
from serving.deployments.messages import SegmentJob
from serving.ingress.admission import BrownOut
from serving.ingress.dispatch import Dispatcher
from serving.ingress.inference import Inference
from serving.miou import frame_miou, overlap
from serving.problems import NotAsked, Overloaded, RequestProblem, StateUnavailable
from serving.promise import AuditOptions
from serving.state.audits import AuditStore
from serving.state.bundles import BundleStore
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
        bundles: ServedBundles,
        store: AuditStore,
        trials: BundleStore,
        inference: Inference,
        dispatcher: Dispatcher,
        telemetry: SegmentTelemetry,
        coin: Callable[[], float] = random,
    ) -> None:
        self.options = options
        self._bundles, self._store, self._trials = bundles, store, trials
        self._inference, self._dispatcher = inference, dispatcher
        self._telemetry, self._coin = telemetry, coin
        self._waiting: set[asyncio.Task[None]] = set()
        self._calibration: dict[str, tuple[float, dict[int, Calibration]]] = {}  # by family, with when read

    def draw(self, level: BrownOut) -> bool | None:
        """Whether the next segment is audited; None where under pressure no audit is drawn at all."""
        return None if level >= BrownOut.AUDITS else self._coin() < self.options.share

    async def predict(self, bundle: Bundle, variant: int, confidence: float) -> float:
        """The mIoU to expect, by what audits of this family have shown until a minute ago."""
        now = time.monotonic()
        read_at, known = self._calibration.get(bundle.family, (-CALIBRATION_S, {}))
        if now - read_at >= CALIBRATION_S:
            self._calibration[bundle.family] = (now, known)
            try:
                known = await self._store.calibration(bundle.family)
                self._calibration[bundle.family] = (now, known)
            except StateUnavailable:
                logger.warning("Predictions go on with the calibration that was read last.")
        return known.get(variant, Calibration()).predict(confidence)

    async def count_drops(self, bundle: Bundle, drops: int) -> None:
        """Dropped segments in the trial that goes on, in the share in which others are audited."""
        counted = sum(self._coin() < self.options.share for _ in range(drops))
        with suppress(StateUnavailable):
            for _ in range(counted):
                await self._record(bundle, 0.0, failed=True)

    async def _record(self, bundle: Bundle, miou: float, failed: bool) -> None:
        """Counts a verdict in the trial that goes on, on the side of its bundle."""
        canary = self._bundles.plan.canary
        if canary is None:
            return
        if self._bundles.on_trial(bundle):
            await self._trials.record(canary.trial, "canary", miou, failed)
        elif bundle.id == self._bundles.in_force.id:
            await self._trials.record(canary.trial, "others", miou, failed)

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
        """Finds out what the segment was worth once there is room, and counts that."""
        expires = time.time() + PATIENCE_S
        try:
            while not self._dispatcher.idle:
                if time.time() > expires:
                    return
                await asyncio.sleep(IDLE_POLL_S)
            variant, confidence, *more = answered.partition("\n")[0].split(" ")
            named = more[0] if more else self._bundles.in_force.id  # older versions did not say
            answered_by, reference_of = self._judged(named)
            limits = DecodeLimits(width=segment.width, height=segment.height, frames=1)
            job = SegmentJob(reference_of.id, frame, limits, masks="last", expires_at=expires)
            reference = await self._inference.segment(0, job, lambda: expires - time.time())
            assert reference.masks is not None
            measured = audited_miou(
                reference.masks, LabelMaps.model_validate_json(answered.partition("\n")[2])
            )
            if verdict := await self._store.settle(camera, seq, measured):
                await self._telemetry.audited(tenant, met=verdict == "met")
                await self._record(answered_by, measured, failed=verdict == "missed")
                if reference_of.family == answered_by.family:
                    await self._store.calibrate(answered_by.family, int(variant), float(confidence), measured)
        except RequestProblem as problem:
            logger.info(
                "An audit of segment %d of camera %s came to nothing: %s", seq, camera, problem.detail
            )

    def _judged(self, named: str) -> tuple[Bundle, Bundle]:
        """The bundle that answered a segment, and that whose variant 0 tells what the answer was worth: its
        own, but what is in force where it is on trial, for a bad bundle may well agree with itself. Raises
        `WrongBundle` for one that is not held any more."""
        bundle = self._bundles.named(named)
        return bundle, self._bundles.in_force if self._bundles.on_trial(bundle) else bundle


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
