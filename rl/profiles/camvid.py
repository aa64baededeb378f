"""CamVid's validation run as a labelled clip: the only stretch of CamVid, in SegNet's split, of which every
frame has a label (CC BY-NC 4.0; 480x360, 15 frames a second).

CamVid's 11 classes are told by one street class each, and `counts_as.yaml` says which others count as it.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import yaml
from PIL import Image

from rl.profiles.index import ClipIndex, IndexedClip, write_index
from rl.profiles.labels import COUNTS_AS
from rl.vss.datasets import IGNORE, load_camvid
from serving.vss.classes import CAMVID_MERGE, STREET_CLASSES

NAME, RATE = "camvid_val", 15
QP = "4"
"""Of the clip's file: its pictures differ from the JPEGs by less than those do from CamVid's own."""


def write_camvid(root: Path, folder: Path) -> ClipIndex:
    """Writes `clips/camvid_val.mp4`, `labels/` and `clips.tsv`. Raises `FileNotFoundError` where `root` holds
    no CamVid in SegNet's layout with class ids as labels (`camvid/val/{images,labels}`)."""
    examples = load_camvid(root, "val")
    if not examples:
        raise FileNotFoundError(f"{root} holds no camvid/val/images/*.jpg")
    height, width = examples[0].image.shape[:2]
    video, labels = folder / "clips" / f"{NAME}.mp4", folder / "labels"
    for path in (video.parent, labels):
        path.mkdir(parents=True, exist_ok=True)
    told = np.full(256, IGNORE, np.uint8)  # CamVid class id to the street class that tells it
    told[: len(CAMVID_MERGE)] = [members[0] for members in CAMVID_MERGE.values()]
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "veryfast", "qp": QP}
        for number, example in enumerate(examples):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(example.image, "rgb24")))
            path = labels / f"{NAME}_{round(1000 * number / RATE)}.png"
            Image.fromarray(told[example.target]).save(path)
        container.mux(stream.encode(None))
    names = [[STREET_CLASSES[member] for member in members] for members in CAMVID_MERGE.values()]
    merge = {other: first for first, *others in names for other in others}
    (labels / COUNTS_AS).write_text(yaml.safe_dump(merge), encoding="utf-8")
    clip = IndexedClip(
        name=NAME, file=str(video.resolve()), drive=NAME, split="test", width=width, height=height, fps=RATE
    )
    index = ClipIndex([clip])
    write_index(folder / "clips.tsv", index)
    return index
