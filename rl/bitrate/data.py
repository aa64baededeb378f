"""Segments that a bitrate estimator learns from and is judged on, with the drive that each belongs to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients.calibration import Floats
from clients.luma import Luma, fill_places, picture_change
from configs.timing import SegmentTiming
from rl.profiles.index import ClipIndex, Kind
from rl.profiles.sizes import SegmentSizes
from rl.profiles.store import SizesOrigin, stored_sizes


@dataclass(frozen=True)
class SizedSegments:
    """Segments by clip and, within a clip, by time."""

    timing: SegmentTiming
    segments: tuple[SegmentSizes, ...]
    drives: tuple[str, ...]  # of each segment
    kinds: tuple[Kind, ...]  # of each segment

    @property
    def places(self) -> int:
        """Frames that the estimator has room for."""
        return self.timing.frames

    @property
    def bytes(self) -> Floats:
        """(segments, settings)."""
        return np.stack([segment.bytes for segment in self.segments]).astype(np.float64)

    @property
    def clips(self) -> tuple[str, ...]:
        return tuple(segment.clip for segment in self.segments)

    def __len__(self) -> int:
        return len(self.segments)

    def luma(self, index: int) -> Luma:
        """(places, 360, 640)."""
        return fill_places(self.segments[index].luma, self.places)

    def picture(self, index: int) -> Tensor:
        """(1, places, 360, 640) uint8, of its own: torch wants no memory that it may not write to."""
        return torch.from_numpy(self.luma(index).copy())[None]

    def of_drives(self, drives: Collection[str], chosen: bool = True) -> SizedSegments:
        """Only the segments of these drives, or of all others."""
        return self._at([i for i, drive in enumerate(self.drives) if (drive in drives) == chosen])

    def of_kind(self, kind: Kind) -> SizedSegments:
        """Only real or only generated segments."""
        return self._at([i for i, other in enumerate(self.kinds) if other == kind])

    def _at(self, kept: Sequence[int]) -> SizedSegments:
        return SizedSegments(
            self.timing,
            tuple(self.segments[i] for i in kept),
            tuple(self.drives[i] for i in kept),
            tuple(self.kinds[i] for i in kept),
        )

    def follows(self) -> NDArray[np.bool_]:
        """(segments,): whether the one before is the same clip's previous segment."""
        before = [(s.clip, s.index) for s in self.segments]
        return np.array(
            [i > 0 and before[i - 1] == (clip, index - 1) for i, (clip, index) in enumerate(before)]
        )

    def change(self) -> Floats:
        """(segments,): how much of the picture is another one since the clip's previous segment; 1 where
        there is none."""
        change = np.ones(len(self))
        for index in np.flatnonzero(self.follows()):
            before, after = self.segments[index - 1], self.segments[index]
            change[index] = picture_change(before.luma[0], after.luma[0])
        return change


@dataclass(frozen=True)
class Seen:
    """What is estimated of segments from their pictures alone, and what else a camera sees in them."""

    bytes: Floats  # (segments, settings)
    change: Floats  # (segments,) of the picture since the segment before


def load_sizes(
    folder: Path, timing: SegmentTiming, origin: SizesOrigin, index: ClipIndex, clips: Collection[str]
) -> SizedSegments:
    """The recorded segments of these clips. Raises `ProfileError`."""
    kept = tuple(s for s in stored_sizes(folder, str(timing), origin) if s.clip in clips)
    indexed = [index[segment.clip] for segment in kept]
    return SizedSegments(timing, kept, tuple(c.drive for c in indexed), tuple(c.kind for c in indexed))


def crop_batch(
    data: SizedSegments, chosen: Sequence[int], share: float, mirror: bool, rng: np.random.Generator
) -> Tensor:
    """(batch, places, rows, columns) uint8: the same share of both sides of every frame, somewhere in it."""
    crops = []
    for index in chosen:
        luma = data.luma(index)
        rows, columns = (8 * round(side * share / 8) for side in luma.shape[1:])
        top, left = rng.integers(luma.shape[1] - rows + 1), rng.integers(luma.shape[2] - columns + 1)
        crop = luma[:, top : top + rows, left : left + columns]
        crops.append(crop[:, :, ::-1] if mirror and rng.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(crops))


def grouped_folds(drives: Sequence[str], folds: int, seed: int = 0) -> list[tuple[str, ...]]:
    """Whole drives in `folds` groups of about as many segments each: `drives` names one a segment.

    The largest drives are dealt first, each to the group that holds least. Raises `ValueError` for fewer
    drives than folds.
    """
    names, counts = np.unique(np.array(drives), return_counts=True)
    if folds < 2 or folds > len(names):
        raise ValueError(f"{len(names)} drives make 2 to {len(names)} folds, not {folds}")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    order = sorted(shuffled, key=lambda drive: -counts[drive])
    groups: list[list[str]] = [[] for _ in range(folds)]
    held = np.zeros(folds, np.int64)
    for drive in order:
        least = int(held.argmin())
        groups[least].append(str(names[drive]))
        held[least] += counts[drive]
    return [tuple(sorted(group)) for group in groups]
