"""The performance encoder's deployment: last frames' logits in, embeddings out."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve
from safetensors.torch import load_file

from configs.bundle import Bundle
from configs.settings import Settings
from serving.bundles.holder import BundleHolder
from serving.deployments.messages import Encoding, Logits
from serving.performance.network import AccuracyHead, load_encoder, make_encoder

logger = logging.getLogger("ray.serve")


class LoadedEncoder:
    """One bundle's encoder, ready to run. Without trained weights in the bundle the network runs as it will,
    so that its share of every answer's time is real, and its output is marked untrained."""

    def __init__(self, bundle: Bundle) -> None:
        classes, weights = len(bundle.manifest.classes), bundle.manifest.encoder
        self._bundle, self._trained = bundle.id, weights is not None
        self._encoder = (
            make_encoder(classes) if weights is None else load_encoder(bundle.path(weights), classes)
        )
        self._head: AccuracyHead | None = None
        if bundle.manifest.accuracy_head is not None:
            self._head = AccuracyHead(len(bundle.ladder)).eval()
            self._head.load_state_dict(load_file(bundle.path(bundle.manifest.accuracy_head)))
        logger.info(
            "Performance encoder of bundle %s: %s.", bundle.id, "trained" if self._trained else "untrained"
        )

    @torch.inference_mode()
    def embed(self, logits: NDArray[np.float16], configuration: int) -> Encoding:
        softmax = self._encoder.softmax(torch.from_numpy(logits.copy())[None])
        embedding = self._encoder(softmax)
        accuracy = None
        if self._head is not None:
            lower, middle, upper = self._head(embedding, torch.tensor([configuration]))[0].tolist()
            accuracy = (lower, middle, upper)
        confidence = float(softmax.amax(1).mean())
        return Encoding(self._bundle, tuple(embedding[0].tolist()), self._trained, confidence, accuracy)


class EncoderReplica:
    """Replicas of the performance encoder."""

    def __init__(self, bundle_directory: Path, settings: Settings) -> None:
        self._bundles = BundleHolder("encoder", Bundle.load(bundle_directory), settings, LoadedEncoder)
        self._bundles.start()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def encode(self, logits: Logits, configuration: int) -> Encoding | None:
        """Embeds one frame's logits, made at this configuration, by the encoder of the bundle that they are
        of; None where that is not held."""
        encoder = self._bundles.get(logits.bundle)
        if encoder is None:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, encoder.embed, logits.values, configuration)

    def __del__(self) -> None:
        self._bundles.stop()


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
EncoderDeployment = serve.deployment()(EncoderReplica)
