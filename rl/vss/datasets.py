"""Labelled images for training: pseudo-labelled street clips and CamVid's true labels.

Both share one encoding of targets. Ids below 19 are street classes; 19 + k stands for "any street class
that merges into CamVid class k", which is all that a true CamVid label says; 255 is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clients.scene import StreetScene
from serving.vss.classes import CAMVID_MERGE, STREET_CLASSES

IGNORE = 255
CAMVID_VOID = len(CAMVID_MERGE)
UNLABELLED_WIDTH = 960
SCENE_SIZE = (960, 540)
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    name: str
    image: NDArray[np.uint8]  # (height, width, 3) RGB
    target: NDArray[np.uint8]  # (rows, columns), not always the image's size
    soft: NDArray[np.uint8] | None = None  # (classes, rows, columns): 255 x the teacher's probability


def target_sets() -> Tensor:
    """(19 + 11, 19) membership: which street classes satisfy each target id."""
    street = torch.eye(len(STREET_CLASSES))
    merged = torch.zeros(len(CAMVID_MERGE), len(STREET_CLASSES))
    for row, members in enumerate(CAMVID_MERGE.values()):
        merged[row, list(members)] = 1
    return torch.cat([street, merged])


def merge_to_camvid(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Street class ids to CamVid class ids; everything else to void."""
    table = np.full(256, CAMVID_VOID, np.uint8)
    for camvid, members in enumerate(CAMVID_MERGE.values()):
        table[list(members)] = camvid
    return table[labels]


def load_camvid(root: Path, split: str) -> list[LabelledImage]:
    """CamVid images with true class ids (11 is void)."""
    return [
        LabelledImage(
            path.stem, np.asarray(Image.open(path).convert("RGB")), np.asarray(Image.open(_label(path)))
        )
        for path in sorted((root / "camvid" / split / "images").glob("*.jpg"))
    ]


def _label(image: Path) -> Path:
    return image.parent.parent / "labels" / f"{image.stem}.png"


def load_camvid_for_training(root: Path, split: str = "train") -> list[LabelledImage]:
    """CamVid with targets as specific as is known: the pseudo-label where the truth agrees with it."""
    examples = []
    for example in load_camvid(root, split):
        pseudo = root / "streets19" / "camvid" / split / f"{example.name}.png"
        target = np.where(example.target < CAMVID_VOID, example.target + len(STREET_CLASSES), IGNORE)
        if pseudo.exists():
            guess = np.asarray(Image.open(pseudo))
            target = np.where(merge_to_camvid(guess) == example.target, guess, target)
            target = np.where(example.target == CAMVID_VOID, IGNORE, target)
        examples.append(LabelledImage(example.name, example.image, target.astype(np.uint8)))
    return examples


def labelled_clips(
    root: Path, split: str, without: Collection[str] = ()
) -> dict[str, list[tuple[int, Path]]]:
    """Clip name to its pseudo-labels, each with its time in milliseconds."""
    clips: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted((root / "streets19" / split).glob("*.png")):
        clip, milliseconds = path.stem.rsplit("_", 1)
        if clip not in without:
            clips.setdefault(clip, []).append((int(milliseconds), path))
    return clips


def load_streets(root: Path, split: str, without: Collection[str] = ()) -> list[LabelledImage]:
    """Frames of street clips with pseudo-labels, at the labels' size."""
    examples: list[LabelledImage] = []
    for clip, labels in labelled_clips(root, split, without).items():
        examples += _frames_with_labels(root / "clips" / split / f"{clip}.mp4", labels)
    return examples


def _frames_with_labels(clip: Path, labels: list[tuple[int, Path]]) -> list[LabelledImage]:
    """The first frame at or after each label's time."""
    examples, waiting = [], sorted(labels)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if not waiting:
                break
            if frame.time is None or round(frame.time * 1000) < waiting[0][0]:
                continue
            _, path = waiting.pop(0)
            target = np.asarray(Image.open(path))
            image = frame.to_ndarray(width=target.shape[1], height=target.shape[0], format="rgb24")
            examples.append(LabelledImage(path.stem, image.astype(np.uint8, copy=False), target))
    return examples


def load_unlabelled(
    root: Path, split: str, frames_a_second: float, without: Collection[str] = ()
) -> list[LabelledImage]:
    """Frames of every street clip, labelled or not, at regular times; at most `UNLABELLED_WIDTH` wide."""
    examples: list[LabelledImage] = []
    for clip in sorted((root / "clips" / split).glob("*.mp4")):
        if clip.stem not in without:
            examples += _frames_at_rate(clip, frames_a_second)
    return examples


def _frames_at_rate(clip: Path, frames_a_second: float) -> list[LabelledImage]:
    examples: list[LabelledImage] = []
    nothing = np.full((1, 1), IGNORE, np.uint8)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if frame.time is None or frame.time < len(examples) / frames_a_second:
                continue
            examples.append(LabelledImage(frame_name(clip, frame.time), narrowed(frame), nothing))
    return examples


def frame_name(clip: Path, seconds: float) -> str:
    return f"{clip.stem}_{round(seconds * 1000)}"


def narrowed(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """(height, width, 3) RGB, at most `UNLABELLED_WIDTH` wide."""
    share = min(1.0, UNLABELLED_WIDTH / frame.width)
    width, height = round(frame.width * share), round(frame.height * share)
    return frame.to_ndarray(width=width, height=height, format="rgb24").astype(np.uint8, copy=False)


class FolderOfLabels(Sequence[LabelledImage]):
    """Images whose labels lie beside them in another folder, read from disk each time."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]]) -> None:
        self.pairs = pairs

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> FolderOfLabels: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | FolderOfLabels:
        if isinstance(index, slice):
            return FolderOfLabels(self.pairs[index])
        image, labels = self.pairs[index]
        target = np.asarray(Image.open(labels))
        return LabelledImage(image.stem, np.asarray(Image.open(image).convert("RGB")), target)

    def __len__(self) -> int:
        return len(self.pairs)


def load_bdd100k(root: Path, split: str) -> FolderOfLabels:
    """BDD100K's semantic segmentation in its official layout: `images/10k/SPLIT/NAME.jpg` and
    `labels/sem_seg/masks/SPLIT/NAME.png` (ids 0 to 18, 255 ignored), under `root`/bdd100k.

    Raises `ValueError` for an image without labels; a folder that is not there is an empty pool.
    """
    masks = root / "bdd100k" / "labels" / "sem_seg" / "masks" / split
    pairs = [
        (path, masks / f"{path.stem}.png")
        for path in sorted((root / "bdd100k" / "images" / "10k" / split).glob("*.jpg"))
    ]
    for image, labels in pairs:
        if not labels.is_file():
            raise ValueError(f"{image} has no labels: expected {labels}")
    return FolderOfLabels(pairs)


def load_scene(drives: int, frames: int, first_seed: int = 1) -> list[LabelledImage]:
    """Frames of generated streets, 960x540 with exact labels; `frames` of each drive, 2.5 s apart."""
    return [
        LabelledImage(f"scene_{seed}_{index}", *scene.labelled(2.5 * index))
        for seed in range(first_seed, first_seed + drives)
        for scene in [StreetScene(seed, *SCENE_SIZE)]
        for index in range(frames)
    ]
