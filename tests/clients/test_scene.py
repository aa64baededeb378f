"""The demo street is deterministic, moves, and its labels fit its pictures."""

from __future__ import annotations

import numpy as np
import pytest

from clients.scene import StreetScene
from clients.scenery import BUILDING, CAR, PERSON, POLE, ROAD, SIDEWALK, SKY, VEGETATION

SIZE = (320, 180)


@pytest.fixture(scope="module")
def scene() -> StreetScene:
    return StreetScene(0, *SIZE)


def test_same_seed_same_street(scene: StreetScene) -> None:
    again = StreetScene(0, *SIZE)
    for time in (0.0, 3.4):
        assert np.array_equal(scene.frame(time), again.frame(time))


def test_seeds_and_times_differ(scene: StreetScene) -> None:
    assert not np.array_equal(scene.frame(0.0), StreetScene(1, *SIZE).frame(0.0))
    assert not np.array_equal(scene.frame(0.0), scene.frame(1 / 15))


def test_labelled_pictures_are_the_same_pictures(scene: StreetScene) -> None:
    picture, labels = scene.labelled(2.0)
    assert np.array_equal(picture, scene.frame(2.0))
    assert picture.shape == (*SIZE[::-1], 3)
    assert labels.shape == SIZE[::-1]
    assert (picture.dtype, labels.dtype) == (np.uint8, np.uint8)


def test_all_classes_are_there_and_no_others(scene: StreetScene) -> None:
    seen = {int(c) for time in np.arange(0, 24, 2.0) for c in np.unique(scene.labelled(float(time))[1])}
    assert seen == {ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR}


def test_labels_fit_what_is_seen(scene: StreetScene) -> None:
    picture, labels = scene.labelled(1.0)
    rgb = picture.astype(float)
    assert (rgb[labels == SKY][:, 2] > rgb[labels == SKY][:, 0]).mean() > 0.8  # sky is rather blue
    green = rgb[labels == VEGETATION]
    assert (green[:, 1] > green[:, 2]).mean() > 0.8
    assert np.ptp(rgb[labels == ROAD].mean(0)) < 12  # road is grey
    assert (labels[: SIZE[1] // 3] == ROAD).sum() == 0
    assert (labels[-20:] == SKY).sum() == 0
