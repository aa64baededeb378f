"""The paper's selection of BDD100K videos (2.1.2, 4.1.1): 300 to train, 60 to test, 20 for the measurements.

The official layout is `videos/{train,val,test}/NAME.mov`. What people train and tune on comes from BDD100K's
own train videos, what they report from its test videos or, where those are missing, its val videos. Every
video is a drive of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rl.profiles.clips import video_files
from rl.profiles.index import ClipIndex, IndexedClip, IndexFault, Split, index_clip


def select_videos(
    root: Path,
    train: int,
    val: int,
    test: int,
    measure: int,
    seed: int,
    notify: Callable[[str], None],
) -> ClipIndex:
    """A selection that depends on nothing but the seed, the counts and the names of the videos.

    `notify` hears of broken videos, in whose place others are taken. Raises `IndexFault` where there are too
    few.
    """
    rng = np.random.default_rng(seed)
    own = _shuffled(root / "videos" / "train", rng)
    foreign = _shuffled(root / "videos" / "test", rng) or _shuffled(root / "videos" / "val", rng)
    learn = _take(own, {"train": train, "val": val}, root, notify)
    report = _take(foreign, {"test": test, "measure": measure}, root, notify)
    return ClipIndex(learn + report)


def _shuffled(folder: Path, rng: np.random.Generator) -> list[Path]:
    videos = video_files(folder) if folder.is_dir() else []
    return [videos[index] for index in rng.permutation(len(videos))]


def _take(
    pool: Sequence[Path], wanted: dict[Split, int], root: Path, notify: Callable[[str], None]
) -> list[IndexedClip]:
    """The first that can be opened, for one split after the other."""
    splits: list[Split] = [split for split, count in wanted.items() for _ in range(count)]
    clips: list[IndexedClip] = []
    for path in pool:
        if len(clips) == len(splits):
            break
        clip = index_clip(path, path.stem, splits[len(clips)], notify)
        if clip is not None:
            clips.append(clip)
    if len(clips) < len(splits):
        asked = ", ".join(f"{count} for {split}" for split, count in wanted.items())
        raise IndexFault(f"{root} holds {len(clips)} usable videos where {asked} were asked for")
    return clips
