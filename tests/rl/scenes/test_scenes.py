"""Generated drives: the same seed gives the same files, looks differ, labels fit to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from clients.scene import StreetScene
from clients.scenery import SKY
from rl.profiles.index import read_index
from rl.scenes.look import CameraModel, draw_look
from rl.scenes.writing import write_scenes

CLEAN = np.full((90, 160, 3), 120, np.uint8)


def test_looks_differ_between_drives_and_noise_between_frames() -> None:
    looks = {draw_look(np.random.default_rng(seed)) for seed in range(20)}
    assert len(looks) == 20
    camera = CameraModel(next(iter(looks)), 0)
    assert not np.array_equal(camera.picture(CLEAN, 0), camera.picture(CLEAN, 1))
    np.testing.assert_array_equal(camera.picture(CLEAN, 5), camera.picture(CLEAN, 5))


def test_many_cameras_stand_still_and_see_the_same_street_again() -> None:
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(60)]
    standing = [look for look in looks if look.speed == 0]
    assert 10 < len(standing) < 40
    assert all(look.shake == 0 for look in standing)
    parked, driving = StreetScene(0, 320, 180, speed=0.0), StreetScene(0, 320, 180)
    sky_and_houses = np.s_[:80]

    def change(scene: StreetScene) -> float:
        first, second = (scene.labelled(time)[1][sky_and_houses] for time in (0.0, 1.0))
        return float((first != second).mean())

    assert change(parked) < 0.3 * change(driving)


def test_labels_shake_with_the_picture() -> None:
    camera = CameraModel(draw_look(np.random.default_rng(1)), 4)
    clean = np.zeros((90, 160), np.uint8)
    clean[40, 80] = 9
    for number in range(5):
        rows, columns = camera.shift(number)
        assert camera.labels(clean, number)[40 + rows, 80 + columns] == 9


def test_a_folder_of_scenes_is_indexed_and_labelled(tmp_path: Path) -> None:
    index = write_scenes(tmp_path, 1, 1.0, 2.0, 2, 0, Console(quiet=True))
    assert read_index(tmp_path / "clips.tsv").clips == index.clips
    (clip,) = index.clips
    assert clip.kind == "generated"
    labels = np.asarray(Image.open(tmp_path / "labels" / f"{clip.name}_0.png"))
    assert labels.shape == (720, 1280)
    assert (labels == SKY).mean() > 0.02
