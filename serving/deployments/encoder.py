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
from serving.performance.network import encoder_input, make_encoder

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Encoding:
    """The embedding, whether the encoder that made it was ever trained, and the mean over the frame's pixels
    of the highest softmax probability."""

    embedding: tuple[float, ...]
    trained: bool
    confidence: float


class EncoderReplica:
    """Replicas of the performance encoder. Without trained weights in the bundle the network runs as it
    will, so that its share of every answer's time is real, and its output is marked untrained."""

    def __init__(self, bundle_directory: Path) -> None:
        bundle = Bundle.load(bundle_directory)
        self._encoder = make_encoder(len(bundle.manifest.classes))
        self._trained = bundle.manifest.encoder is not None
        if bundle.manifest.encoder is not None:
            self._encoder.load_state_dict(load_file(bundle.path(bundle.manifest.encoder)))
        logger.info(
            "Performance encoder of bundle %s: %s.", bundle.id, "trained" if self._trained else "untrained"
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")

    async def encode(self, logits: NDArray[np.float16]) -> Encoding:
        """Embeds one frame's logits (classes, rows, columns)."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, logits)

    @torch.inference_mode()
    def _embed(self, logits: NDArray[np.float16]) -> Encoding:
        softmax = encoder_input(torch.from_numpy(logits.copy())[None])
        confidence = float(softmax.amax(1).mean())
        return Encoding(tuple(self._encoder(softmax)[0].tolist()), self._trained, confidence)


# Not a decorator: the class must stay importable by name, or Ray pickles its whole module by value.
EncoderDeployment = serve.deployment()(EncoderReplica)
