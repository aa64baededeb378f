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
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve

from clients.codec import DecodeError, DecodeLimits, scaled_size
from clients.protocol import LabelMaps
from configs.bundle import Bundle
from configs.settings import Settings
from serving.bundles.holder import BundleHolder
from serving.decode.pool import DecoderPool, Failure
from serving.deployments.messages import Logits, Refusal, Segmentation, SegmentJob
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


def warm_engine(bundle: Bundle, variant: int, options: VariantOptions) -> SegmentationEngine:
    """A variant of a bundle, ready to run at every size: first passes at a size are slow, kernels being
    compiled, and that is not a camera's problem."""
    network = load_variant(bundle, variant, options.threads)
    logger.info("Variant %d of bundle %s runs on %s.", variant, bundle.id, network.runs_on)
    engine = SegmentationEngine(network, options.batch_frames)
    width, height = bundle.manifest.frame
    for scale in bundle.ladder.scales * 2:
        columns, rows = scaled_size(width, height, scale)
        engine.run(np.zeros((options.threads, rows, columns, 3), np.uint8))
    return engine


class VariantReplica:
    """Replicas of one variant of the bundle."""

    def __init__(
        self, bundle_directory: Path, variant: int, options: VariantOptions, settings: Settings
    ) -> None:
        os.nice(NICENESS)
        bundle = Bundle.load(bundle_directory)
        self._options = options
        self._variant, self._instruments = variant, RayInstruments()
        self._bundles = BundleHolder(f"variant-{variant}", bundle, settings, self._load)
        self._bundles.start()
        # OpenMP's thread count belongs to the thread that sets it; elsewhere Ray's OMP_NUM_THREADS=1 holds.
        self._inference = ThreadPoolExecutor(
            1, thread_name_prefix="inference", initializer=torch.set_num_threads, initargs=(options.threads,)
        )
        width, height = bundle.manifest.frame
        self._largest = DecodeLimits(width=width, height=height, frames=USUAL_FRAMES)
        self._decoders = DecoderPool(
            options.decoders,
            settings.max_segment_bytes,
            settings.decode_timeout_s,
            settings.decode_memory_mb,
            self._tell_of,
        )

    def _load(self, bundle: Bundle) -> SegmentationEngine | None:
        """None where the bundle has fewer variants."""
        fewer = self._variant >= len(bundle.manifest.variants)
        return None if fewer else warm_engine(bundle, self._variant, self._options)

    def _tell_of(self, failure: Failure) -> None:
        self._instruments.count(DECODER_FAILURES, variant=str(self._variant), cause=failure)

    async def check_health(self) -> None:
        """Serve calls this at the start and every few seconds: decoders are up before they are needed."""
        await self._decoders.warm_up(self._largest)

    async def segment(self, job: SegmentJob) -> Segmentation | Refusal:
        """Decodes and segments one segment; refusals are values, because they are nobody's failure."""
        taken = time.perf_counter()
        engine = self._bundles.get(job.bundle)
        if engine is None:
            return Refusal("bundle", f"the replica does not hold bundle {job.bundle}")
        try:
            async with AsyncExitStack() as held:
                with tracer.start_as_current_span("decode"):
                    frames = await held.enter_async_context(self._decoders.decode(job.data, job.expected))
                decoded = time.perf_counter()
                loop = asyncio.get_running_loop()
                with tracer.start_as_current_span("infer"):
                    return await loop.run_in_executor(
                        self._inference, self._infer, engine, frames, job, taken, decoded
                    )
        except DecodeError as error:
            return Refusal("undecodable", str(error))

    def _infer(
        self,
        engine: SegmentationEngine,
        frames: NDArray[np.uint8],
        job: SegmentJob,
        taken: float,
        decoded: float,
    ) -> Segmentation | Refusal:
        if time.time() >= job.expires_at:
            return Refusal("late", "its deadline passed while it waited for the network")
        prediction = engine.run(frames, job.masks)
        masks = None if prediction.label_maps is None else LabelMaps.pack(prediction.label_maps)
        return Segmentation(
            class_shares=tuple(float(x) for x in prediction.class_pixels / prediction.class_pixels.sum()),
            logits=Logits(job.bundle, prediction.logits),
            masks=masks,
            decode_ms=(decoded - taken) * 1e3,
            infer_ms=prediction.infer_ms,
            busy_ms=(time.perf_counter() - taken) * 1e3,
        )

    async def __del__(self) -> None:
        self._bundles.stop()
        await self._decoders.close()
        self._inference.shutdown(wait=False)


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
VariantDeployment = serve.deployment()(VariantReplica)
