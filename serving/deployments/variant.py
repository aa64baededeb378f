"""One deployment per variant: decodes segments in child processes and segments their frames.

Compressed bytes travel to the replica, not frames: they are a thousandth of the size. While one
segment's frames are in the network, the next one is being decoded.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from clients.codec import DecodeError, DecodeLimits, scaled_size
from clients.protocol import LabelMaps, MaskMode
from configs.bundle import Bundle
from configs.settings import Settings
from serving.decode.pool import DecoderPool, Failure
from serving.options import VariantOptions
from serving.telemetry.catalogue import DECODER_FAILURES
from serving.telemetry.instruments import RayInstruments
from serving.telemetry.tracing import tracer
from serving.vss.engine import SegmentationEngine
from serving.vss.family import load_variant

NICENESS = 4
"""What computes stands behind what answers: refusals stay quick on a full machine."""
USUAL_FRAMES = 15
"""Frames of the usual segment, for which decoders hold memory from the start; longer ones get more."""

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class SegmentJob:
    """A segment on its way to a variant. `expires_at` is wall-clock time, the same on all processes here."""

    data: bytes
    expected: DecodeLimits
    masks: MaskMode
    expires_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a segment was not segmented: its bytes are at fault, or it could not be done in time."""

    undecodable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a variant made of a segment."""

    class_shares: tuple[float, ...]
    logits: NDArray[np.float16]  # (classes, rows, columns) of the last frame
    masks: LabelMaps | None
    decode_ms: float
    infer_ms: float
    busy_ms: float  # from taking the job to giving the result


class VariantReplica:
    """Replicas of one variant of the bundle."""

    def __init__(
        self, bundle_directory: Path, variant: int, options: VariantOptions, settings: Settings
    ) -> None:
        os.nice(NICENESS)
        bundle = Bundle.load(bundle_directory)
        network = load_variant(bundle, variant, options.threads)
        logger.info("Variant %d of bundle %s runs on %s.", variant, bundle.id, network.runs_on)
        self._engine = SegmentationEngine(network, options.batch_frames)
        # OpenMP's thread count belongs to the thread that sets it; elsewhere Ray's OMP_NUM_THREADS=1 holds.
        self._inference = ThreadPoolExecutor(
            1, thread_name_prefix="inference", initializer=torch.set_num_threads, initargs=(options.threads,)
        )
        width, height = bundle.manifest.frame
        self._largest = DecodeLimits(width=width, height=height, frames=USUAL_FRAMES)
        sizes = [scaled_size(width, height, scale) for scale in bundle.ladder.scales]
        self._inference.submit(self._warm_up, sizes, options.threads).result()
        self._decoders = DecoderPool(
            options.decoders,
            settings.max_segment_bytes,
            settings.decode_timeout_s,
            settings.decode_memory_mb,
            self._tell_of,
        )
        self._variant, self._instruments = variant, RayInstruments()

    def _tell_of(self, failure: Failure) -> None:
        self._instruments.count(DECODER_FAILURES, variant=str(self._variant), cause=failure)

    def _warm_up(self, sizes: list[tuple[int, int]], frames: int) -> None:
        """First passes at a (width, height) are slow, kernels being compiled: not a camera's problem."""
        for width, height in sizes * 2:
            self._engine.run(np.zeros((frames, height, width, 3), np.uint8))

    async def check_health(self) -> None:
        """Serve calls this at the start and every few seconds: decoders are up before they are needed."""
        await self._decoders.warm_up(self._largest)

    async def segment(self, job: SegmentJob) -> Segmentation | Refusal:
        """Decodes and segments one segment; refusals are values, because they are nobody's failure."""
        taken = time.perf_counter()
        try:
            async with AsyncExitStack() as held:
                with tracer.start_as_current_span("decode"):
                    frames = await held.enter_async_context(self._decoders.decode(job.data, job.expected))
                decoded = time.perf_counter()
                loop = asyncio.get_running_loop()
                with tracer.start_as_current_span("infer"):
                    return await loop.run_in_executor(
                        self._inference, self._infer, frames, job, taken, decoded
                    )
        except DecodeError as error:
            return Refusal(undecodable=True, reason=str(error))

    def _infer(
        self, frames: NDArray[np.uint8], job: SegmentJob, taken: float, decoded: float
    ) -> Segmentation | Refusal:
        if time.time() >= job.expires_at:
            return Refusal(undecodable=False, reason="its deadline passed while it waited for the network")
        prediction = self._engine.run(frames, job.masks)
        masks = None if prediction.label_maps is None else LabelMaps.pack(prediction.label_maps)
        return Segmentation(
            class_shares=tuple(float(x) for x in prediction.class_pixels / prediction.class_pixels.sum()),
            logits=prediction.logits,
            masks=masks,
            decode_ms=(decoded - taken) * 1e3,
            infer_ms=prediction.infer_ms,
            busy_ms=(time.perf_counter() - taken) * 1e3,
        )

    async def __del__(self) -> None:
        await self._decoders.close()
        self._inference.shutdown(wait=False)


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
VariantDeployment = serve.deployment()(VariantReplica)
