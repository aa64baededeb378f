"""True labels of clips, and labels that tell fewer classes apart than the family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clients.errors import SourceError
from configs.timing import TIMINGS
from rl.profiles.camvid import write_camvid
from rl.profiles.clips import ClipSegment, open_clip, read_segments
from rl.profiles.labels import COUNTS_AS, LabelFolder
from serving.vss.classes import CAMVID_MERGE, STREET_CLASSES

CAR, TRUCK, SKY = (STREET_CLASSES.index(name) for name in ("car", "truck", "sky"))


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation run of 20 frames in SegNet's layout: sky over cars, the first column void."""
    root = tmp_path_factory.mktemp("data")
    for part in ("images", "labels"):
        (root / "camvid" / "val" / part).mkdir(parents=True)
    rng, names = np.random.default_rng(0), list(CAMVID_MERGE)
    labels = np.full((72, 96), names.index("sky"), np.uint8)
    labels[36:], labels[:, 0] = names.index("car"), len(names)
    for number in range(20):
        picture = Image.fromarray(rng.integers(0, 256, (72, 96, 3), dtype=np.uint8))
        picture.save(root / "camvid" / "val" / "images" / f"{number:05d}.jpg")
        Image.fromarray(labels).save(root / "camvid" / "val" / "labels" / f"{number:05d}.png")
    folder = root / "clip"
    write_camvid(root, folder)
    return folder


def first_segment(folder: Path) -> ClipSegment:
    return next(iter(read_segments(open_clip(folder / "clips" / "camvid_val.mp4", None, TIMINGS[0]))))


def test_every_frame_of_camvids_run_has_its_label(camvid: Path) -> None:
    segment = first_segment(camvid)
    known = LabelFolder.of(camvid / "labels", STREET_CLASSES).of_segment(segment)
    assert sorted(known.frames) == list(range(15))
    label = known.frames[7]
    assert label.shape == (segment.format.height, segment.format.width)
    assert (label[:300, 100:] == SKY).all()
    assert (label[-300:, 100:] == CAR).all()
    assert (label[:, 0] == 255).all()  # void is nobody's fault


def test_a_truck_counts_as_a_car_where_labels_know_no_trucks(camvid: Path) -> None:
    table = LabelFolder.of(camvid / "labels", STREET_CLASSES).counts_as
    assert table[TRUCK] == table[CAR] == CAR
    merged = {int(value) for value in table}
    assert len(merged) == len(CAMVID_MERGE)


def test_without_a_merge_every_class_counts_as_itself(tmp_path: Path) -> None:
    table = LabelFolder.of(tmp_path, STREET_CLASSES).counts_as
    np.testing.assert_array_equal(table, np.arange(len(STREET_CLASSES)))


@pytest.mark.parametrize("text", ["lorry: car", "car: [truck]", "]"])
def test_a_merge_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / COUNTS_AS).write_text(text)
    with pytest.raises(SourceError, match=COUNTS_AS):
        LabelFolder.of(tmp_path, STREET_CLASSES)
