"""Loaders on the development data (skipped without it), and the classes' merge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rl.vss.datasets import (
    CAMVID_VOID,
    IGNORE,
    labelled_clips,
    load_bdd100k,
    load_camvid,
    load_camvid_for_training,
    load_scene,
    load_streets,
    load_unlabelled,
    merge_to_camvid,
    target_sets,
)
from rl.vss.recipe import FamilyRecipe
from rl.vss.sources import sources_of


def test_sets_and_merge_say_the_same() -> None:
    sets = target_sets()
    merged = merge_to_camvid(np.arange(19, dtype=np.uint8))
    for street, camvid in enumerate(merged):
        assert sets[street].nonzero().tolist() == [[street]]
        if camvid != CAMVID_VOID:
            assert sets[19 + camvid, street] == 1
    assert sets[19:].sum() == (merged != CAMVID_VOID).sum()


def test_camvid_has_its_published_splits(data: Path) -> None:
    assert len(load_camvid(data, "val")) == 101
    assert len(list((data / "camvid" / "train" / "images").glob("*.jpg"))) == 367
    assert len(list((data / "camvid" / "test" / "images").glob("*.jpg"))) == 233


def test_training_targets_never_contradict_the_truth(data: Path) -> None:
    truth = {example.name: example for example in load_camvid(data, "val")}
    for example in load_camvid_for_training(data, "val")[::10]:
        true, target = truth[example.name].target, example.target
        assert ((target == IGNORE) == (true == CAMVID_VOID)).all()
        specific = target < 19
        assert (merge_to_camvid(target)[specific] == true[specific]).all()
        assert (
            target[(target >= 19) & (target != IGNORE)] - 19 == true[(target >= 19) & (target != IGNORE)]
        ).all()
        assert specific.mean() > 0.3


def test_frames_come_at_the_labels_size_and_number(data: Path) -> None:
    clips = labelled_clips(data, "test")
    wanted = "sunset_crossing_glare"
    examples = load_streets(data, "test", without=set(clips) - {wanted})
    assert len(examples) == len(clips[wanted]) > 0
    for example in examples:
        assert example.image.shape == (*example.target.shape, 3)
        assert set(np.unique(example.target)) <= {*range(19), IGNORE}


def test_every_training_clip_has_a_source_and_no_validation_drive_is_one(
    data: Path, lite: FamilyRecipe
) -> None:
    clips = labelled_clips(data, "train", lite.validation_drives)
    named = {clip for source in sources_of(clips) for clip in source.clips}
    assert named == set(clips)
    assert named.isdisjoint(lite.validation_drives)
    assert named.isdisjoint(labelled_clips(data, "test"))


def test_a_clip_without_source_is_refused() -> None:
    with pytest.raises(ValueError, match="somewhere"):
        sources_of({"somewhere"})


def test_bdd100k_is_read_in_its_official_layout(tmp_path: Path) -> None:
    images = tmp_path / "bdd100k" / "images" / "10k" / "train"
    masks = tmp_path / "bdd100k" / "labels" / "sem_seg" / "masks" / "train"
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for name in ("b", "a"):
        Image.new("RGB", (64, 36), (10, 200, 30)).save(images / f"{name}.jpg")
        Image.fromarray(np.full((36, 64), 8, np.uint8)).save(masks / f"{name}.png")
    pool = load_bdd100k(tmp_path, "train")
    assert [example.name for example in pool] == ["a", "b"]
    assert [example.name for example in pool[1:]] == ["b"]
    assert pool[0].image.shape == (36, 64, 3)
    assert (pool[0].target == 8).all()
    (masks / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.jpg has no labels: expected .*b\.png"):
        load_bdd100k(tmp_path, "train")
    assert len(load_bdd100k(tmp_path, "val")) == 0


def test_the_generated_scene_has_exact_labels_of_many_classes() -> None:
    (first, second) = load_scene(drives=1, frames=2)
    assert first.image.shape == (540, 960, 3)
    assert first.target.shape == (540, 960)
    assert len(np.unique(first.target)) > 6
    assert not np.array_equal(first.image, second.image)


def test_unlabelled_frames_keep_their_shape_and_pace(data: Path) -> None:
    everything = {path.stem for path in (data / "clips" / "train").glob("*.mp4")}
    frames = load_unlabelled(data, "train", 0.5, without=everything - {"walkway"})
    assert [round(int(frame.name.rsplit("_", 1)[1]) / 1000) for frame in frames] == [0, 2, 4, 6, 8]
    assert all(frame.image.shape == (540, 960, 3) for frame in frames)
    assert all((frame.target == IGNORE).all() for frame in frames)
