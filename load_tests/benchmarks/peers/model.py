"""One variant in one process, without a platform around it: what every peer serves."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from clients.codec import DecodeLimits, iterate_rgb
from configs.bundle import Bundle
from serving.deployments.encoder import LoadedEncoder
from serving.vss.engine import SegmentationEngine
from serving.vss.family import load_variant

TASK = "PENANCE_PEER_TASK"


class PeerTask(BaseModel):
    """What a peer serves: one configuration of a bundle; it finds it in the environment, as JSON."""

    bundle: Path
    configuration: int
    frames: DecodeLimits
    threads: int

    @classmethod
    def given(cls) -> PeerTask:
        return cls.model_validate_json(os.environ[TASK])


class PeerModel:
    """Compressed bytes in, what a camera is told out. Safe to call from several threads: while one segment
    is in the network another may be decoded."""

    def __init__(self, task: PeerTask) -> None:
        torch.set_num_threads(task.threads)
        bundle = Bundle.load(task.bundle)
        self._task, self._lock = task, threading.Lock()
        variant = bundle.ladder[task.configuration].variant
        self._engine = SegmentationEngine(load_variant(bundle, variant, task.threads))
        self._encoder = LoadedEncoder(bundle)

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Frames (N, height, width, 3) RGB. Raises `DecodeError`."""
        expected = self._task.frames
        frames = np.empty((expected.frames, expected.height, expected.width, 3), np.uint8)
        for index, image in enumerate(iterate_rgb(data, expected)):
            frames[index] = image
        return frames

    def infer(self, frames: NDArray[np.uint8]) -> dict[str, Any]:
        """Class shares, embedding and predicted accuracy, as the platform's answer has them."""
        with self._lock:
            prediction = self._engine.run(frames)
        encoding = self._encoder.embed(prediction.logits, self._task.configuration)
        return {
            "class_shares": (prediction.class_pixels / prediction.class_pixels.sum()).tolist(),
            "embedding": encoding.embedding,
            "accuracy": encoding.accuracy,
        }

    def segment(self, data: bytes) -> dict[str, Any]:
        return self.infer(self.decode(data))
