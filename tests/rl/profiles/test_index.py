"""The clip index: splits by drive, whatever the files are called, and BDD100K's official layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clients.codec import encode_segment
from configs.ladder import CompressionSetting
from rl.profiles.bdd100k import select_videos
from rl.profiles.index import (
    ClipIndex,
    Drive,
    Drives,
    IndexedClip,
    IndexFault,
    index_folder,
    load_drives,
    read_index,
    write_index,
)


@pytest.fixture(scope="module")
def video() -> bytes:
    frames = [np.full((36, 64, 3), 20 * n, np.uint8) for n in range(5)]
    return encode_segment(frames, CompressionSetting(1.0, 30), 5)


@pytest.fixture
def folder(tmp_path: Path, video: bytes) -> Path:
    for name in ("train/a.mp4", "train/b.mp4", "train/c.mp4", "test/d.mp4"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video)
    (tmp_path / "clips" / "train" / "broken.mp4").write_bytes(b"no video")
    return tmp_path / "clips"


def test_folders_say_the_split_and_drives_overrule_them(folder: Path) -> None:
    lines: list[str] = []
    drives = Drives(drives=(Drive(name="trip", split="val", clips=("b", "c")),))
    index = index_folder(folder, drives, lines.append)
    assert [(c.name, c.drive, c.split) for c in index.clips] == [
        ("d", "d", "test"),
        ("a", "a", "train"),
        ("b", "trip", "val"),
        ("c", "trip", "val"),
    ]
    assert (index["a"].width, index["a"].height, index["a"].fps) == (64, 36, 5)
    assert len(lines) == 1
    assert "broken.mp4" in lines[0]


def test_an_index_is_read_as_it_was_written_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    index = index_folder(folder, Drives(), lambda line: None)
    for place in (folder / "clips.tsv", tmp_path / "clips.tsv"):
        write_index(place, index)
        assert read_index(place).clips == index.clips
    assert "\ttrain/a.mp4" not in (tmp_path / "clips.tsv").read_text()
    assert "train/a.mp4" in (folder / "clips.tsv").read_text()


def clip(name: str, drive: str, split: str) -> IndexedClip:
    return IndexedClip.model_validate(
        {"name": name, "file": f"{name}.mp4", "drive": drive, "split": split, "width": 64, "height": 36}
    )


def test_no_drive_is_torn_and_no_name_is_used_twice() -> None:
    with pytest.raises(IndexFault, match="a drive has one split, these have several: trip"):
        ClipIndex([clip("a", "trip", "train"), clip("b", "trip", "test")])
    with pytest.raises(IndexFault, match="more than once: a"):
        ClipIndex([clip("a", "x", "train"), clip("a", "y", "train")])


def test_faults_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "clips.tsv"
    write_index(path, ClipIndex([clip("a", "a", "train")]))
    path.write_text(path.read_text().replace("train", "training"))
    with pytest.raises(IndexFault, match=r"clips.tsv, line 2: split"):
        read_index(path)


def test_the_drives_that_ship_are_consistent() -> None:
    drives = load_drives()
    assert drives.of("dashcam_dusk").name == drives.of("dashcam_freeway_b").name
    assert drives.of("city_seattle_b").split == "val"
    assert drives.of("never_heard_of").name == "never_heard_of"


def test_bdd100k_is_selected_by_seed_alone(tmp_path: Path, video: bytes) -> None:
    for part, count in (("train", 9), ("test", 6)):
        (tmp_path / "videos" / part).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "videos" / part / f"{part}{number}.mov").write_bytes(video)
    (tmp_path / "videos" / "train" / "train3.mov").write_bytes(b"broken")
    chosen = select_videos(tmp_path, 4, 2, 3, 2, 0, lambda line: None)
    assert [len(chosen.of_split(s)) for s in ("train", "val", "test", "measure")] == [4, 2, 3, 2]
    assert all(c.name.startswith("t") and c.drive == c.name for c in chosen.clips)
    assert {c.name[:-1] for c in chosen.of_split("train", "val")} == {"train"}
    assert {c.name[:-1] for c in chosen.of_split("test", "measure")} == {"test"}
    assert "train3" not in {c.name for c in chosen.clips}
    assert chosen.clips == select_videos(tmp_path, 4, 2, 3, 2, 0, lambda line: None).clips
    assert chosen.clips != select_videos(tmp_path, 4, 2, 3, 2, 1, lambda line: None).clips
    with pytest.raises(IndexFault, match="6 usable videos where 5 for test, 2 for measure"):
        select_videos(tmp_path, 4, 2, 5, 2, 0, lambda line: None)
