"""What the platform knows of a segmentation network: pictures in, logits out, and nothing else."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Network(Protocol):
    """One variant of any design, ready to run."""

    @property
    def classes(self) -> int: ...

    @property
    def device(self) -> str:
        """The torch device that images must be on and logits come on."""
        ...

    @property
    def runs_on(self) -> str:
        """Hardware and numeric type, and why, for the log."""
        ...

    @property
    def streams(self) -> int:
        """How many threads may call it at once, and should for all of the processors to be used."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """RGB images (N, 3, H, W), uint8, to logits (N, classes, ceil(H / s), ceil(W / s)), s being the
        network's own stride. Images that are channels-last, as decoders give them, need not be copied."""
        ...
