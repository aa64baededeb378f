"""What the performance encoder sees of recorded segments: the last frame's softmax, by row and configuration.

Logits stay on disk, compressed and memory-mapped; one is unpacked when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from configs.timing import TIMINGS
from rl.profiles.logits import restored
from rl.profiles.store import read_origin, read_row
from rl.profiles.store_outcomes import OutcomesOrigin, logits_of, outcome_files
from serving.performance.network import encoder_input


class Softmaxes:
    """Of one family's segments in a profile; rows are those of a `Replay` of the same clips. Pickled, it is
    where they lie. Raises `ProfileError`."""

    def __init__(self, profile: Path, family: str, clips: Sequence[str]) -> None:
        self._source = profile, family, tuple(clips)
        found, wanted = outcome_files(profile, str(TIMINGS[0]), family), set(clips)
        origin = read_origin(found[0], OutcomesOrigin)
        self._tables = tuple(read_row(path, origin) for path in found if path.parent.name in wanted)

    def __reduce__(self) -> tuple[type[Softmaxes], tuple[Path, str, tuple[str, ...]]]:
        return Softmaxes, self._source

    def __len__(self) -> int:
        return len(self._tables)

    def batch(self, rows: Sequence[int], configurations: Sequence[int]) -> Tensor:
        """(N, classes, 180, 320) float32."""
        pairs = zip(rows, configurations, strict=True)
        return torch.cat([encoder_input(self.logits(*pair)) for pair in pairs])

    def confidence(self, row: int, configuration: int) -> float:
        """Mean over pixels of the highest probability."""
        return float(self.logits(row, configuration).softmax(1).amax(1).mean())

    def logits(self, row: int, configuration: int) -> Tensor:
        """(1, classes, h, w) float32 at the network's own stride, the highest of each pixel being 0."""
        return torch.from_numpy(restored(logits_of(self._tables[row], configuration)))[None]
