"""What policies and encoders learn from: the folder of a recorded profile, or its digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from configs.bundle import Bundle
from rl.adapter.digest import read_digest
from rl.adapter.replay import Replay, load_replay
from rl.profiles.index import ClipIndex
from rl.profiles.store import ProfileError


@dataclass(frozen=True)
class Recorded:
    """Segments of one family with all their outcomes, and the clips that they are of."""

    replay: Replay
    index: ClipIndex | None  # None: every clip is a drive of its own, and nobody said what it is for
    folder: Path | None  # of the profile; None for a digest
    expectations: NDArray[np.float16] | None  # (segments, configurations, count); a digest's

    @classmethod
    def load(cls, profile: Path, index: ClipIndex | None, bundle: Bundle) -> Self:
        """A profile's folder, or a digest, which has an index of its own. Raises `ProfileError`, also where
        it was made with another family or another estimator."""
        if profile.is_dir():
            return cls(load_replay(profile, index, bundle), index, profile, None)
        replay, own, expectations = read_digest(profile, index, bundle)
        return cls(replay, own, None, expectations)

    @property
    def known_index(self) -> ClipIndex:
        """Raises `ProfileError` where there is none."""
        if self.index is None:
            raise ProfileError("the clip index says what each drive is for: give --index")
        return self.index
