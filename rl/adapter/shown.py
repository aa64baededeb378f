"""What encoders see of the rows of a replay: whole softmaxes, what is expected of them, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from configs.bundle import Bundle
from rl.adapter.encoder_recipe import EncoderRecipe
from rl.adapter.recorded import Recorded
from rl.adapter.replay import Replay
from rl.adapter.softmaxes import Softmaxes
from rl.profiles.progress import segment_progress
from serving.performance.expectations import HIGHEST, expectations
from serving.performance.network import PerformanceEncoder

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """Softmaxes, expectations (segments, configurations, count), or both: what an encoder needs."""

    classes: int
    softmaxes: Softmaxes | None = None
    expectations: NDArray[np.float16] | None = None

    @classmethod
    def of(
        cls, recorded: Recorded, bundle: Bundle, recipe: EncoderRecipe, cache: Path, console: Console
    ) -> Self:
        """What this recipe looks at; expectations are kept under `cache`. Raises `ValueError` where a digest
        has no softmax to look at."""
        classes = len(bundle.manifest.classes)
        if recorded.folder is None:
            if recipe.convolutions:
                raise ValueError(
                    "the recipe's convolutions look at whole softmaxes, a digest has none: give the folder "
                    "of the profile, or a recipe with convolutions: false"
                )
            return cls(classes, None, recorded.expectations)
        softmaxes = Softmaxes(recorded.folder, bundle.family, sorted(set(recorded.replay.clips)))
        if not recipe.expectations:
            return cls(classes, softmaxes)
        found = expectations_of(softmaxes, recorded.replay, cache / "expectations" / bundle.family, console)
        return cls(classes, softmaxes, found)

    def embedded(
        self, encoder: PerformanceEncoder, rows: Rows, made_by: Rows, mirror: bool = False
    ) -> Tensor:
        """(N, 120). Expectations are the same in a mirror."""
        if encoder.convolutions is None:
            assert encoder.expected is not None
            assert self.expectations is not None
            return encoder.expected(floats(self.expectations[rows, made_by]))  # type: ignore[no-any-return]
        assert self.softmaxes is not None
        seen = self.softmaxes.batch(rows.tolist(), made_by.tolist())
        return encoder(seen.flip(3) if mirror else seen)  # type: ignore[no-any-return]

    def confidence(self, row: int, configuration: int) -> float:
        """Mean over pixels of the highest probability."""
        if self.expectations is not None:
            return float(self.expectations[row, configuration, HIGHEST])
        assert self.softmaxes is not None
        return self.softmaxes.confidence(row, configuration)


def expectations_of(
    softmaxes: Softmaxes, replay: Replay, cache: Path, console: Console
) -> NDArray[np.float16]:
    """(segments, configurations, count); one file a segment in `cache`, and none is computed twice."""
    found = []
    with segment_progress(console) as bar:
        task = bar.add_task("expectations", total=len(replay))
        for row, (clip, time) in enumerate(zip(replay.clips, replay.times, strict=True)):
            path = cache / str(clip) / f"{time:05d}.npy"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                every = [softmaxes.logits(row, one).softmax(1) for one in range(len(replay.ladder))]
                values = [expectations(softmax)[0] for softmax in every]
                partial = path.with_suffix(".partial.npy")
                np.save(partial, torch.stack(values).half().numpy())
                partial.replace(path)
            found.append(np.load(path))
            bar.update(task, completed=row + 1)
    return np.stack(found)


def floats(values: NDArray[np.float16]) -> Tensor:
    """For a network."""
    return torch.from_numpy(values.astype(np.float32))
