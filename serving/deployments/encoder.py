"""The performance encoder's deployment: last frames' logits in, embeddings out."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from ray import serve
from safetensors.torch import load_file

from configs.bundle import Bundle
from serving.performance.network import AccuracyHead, load_encoder, make_encoder

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the encoder makes of one frame's softmax."""

    embedding: tuple[float, ...]
    trained: bool  # whether the encoder ever was
    confidence: float  # mean over the frame's pixels of the highest probability
    accuracy: tuple[float, float, float] | None = None  # lower end, middle, upper end; None without a head


class EncoderReplica:
    """Replicas of the performance encoder. Without trained weights in the bundle the network runs as it
    will, so that its share of every answer's time is real, and its output is marked untrained."""

    def __init__(self, bundle_directory: Path) -> None:
        bundle = Bundle.load(bundle_directory)
        classes, weights = len(bundle.manifest.classes), bundle.manifest.encoder
        self._trained = weights is not None
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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def encode(self, logits: NDArray[np.float16], configuration: int) -> Encoding:
        """Embeds one frame's logits (classes, rows, columns), made at this configuration."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._embed, logits, configuration)

    @torch.inference_mode()
    def _embed(self, logits: NDArray[np.float16], configuration: int) -> Encoding:
        softmax = self._encoder.softmax(torch.from_numpy(logits.copy())[None])
        embedding = self._encoder(softmax)
        accuracy = None
        if self._head is not None:
            lower, middle, upper = self._head(embedding, torch.tensor([configuration]))[0].tolist()
            accuracy = (lower, middle, upper)
        confidence = float(softmax.amax(1).mean())
        return Encoding(tuple(embedding[0].tolist()), self._trained, confidence, accuracy)


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
EncoderDeployment = serve.deployment()(EncoderReplica)
