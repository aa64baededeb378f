"""Labels drawn by hand: polygons, static scenes, and what moves through them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from clients.codec import encode_segment
from configs.ladder import CompressionSetting
from rl.vss.annotations import (
    ANNOTATIONS,
    Annotation,
    Region,
    annotated_clips,
    annotated_frames,
    load_annotated,
    load_annotation,
    paint,
    static_clips,
    with_movement,
)
from rl.vss.datasets import IGNORE
from rl.vss.sources import sources_of
from serving.vss.classes import STREET_CLASSES

ROAD, SKY, CAR = (STREET_CLASSES.index(name) for name in ("road", "sky", "car"))
WHOLE = (0, 0, 1000, 0, 1000, 1000, 0, 1000)
UPPER = (0, 0, 1000, 0, 1000, 500, 0, 500)
DRAWN = {"at": 1, "regions": [{"label": "road", "polygon": WHOLE}]}
SCENE = Annotation.model_validate(
    {
        "frames": [{"regions": [{"label": "road", "polygon": WHOLE}, {"label": "sky", "polygon": UPPER}]}],
        "moving": [{"label": "car", "polygon": (0, 500, 1000, 500, 1000, 1000, 0, 1000)}],
    }
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a grey road under a blue sky, a red box driving over it from left to right."""
    frames = []
    for index in range(30):
        frame = np.full((96, 160, 3), 90, np.uint8)
        frame[:48] = (90, 140, 220)
        frame[64:84, 4 * index : 4 * index + 30] = (200, 30, 30)
        frames.append(frame)
    path = tmp_path_factory.mktemp("data") / "clips" / "train" / "bridge.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_segment(frames, CompressionSetting(1.0, 20), fps=15))
    return path


def test_later_regions_are_painted_over_earlier_ones() -> None:
    labels = paint(SCENE.frames[0].regions, (100, 200))
    assert labels.shape == (100, 200)
    assert (labels[:49] == SKY).all()
    assert (labels[52:] == ROAD).all()
    nothing = paint([Region(label="ignore", polygon=UPPER)], (100, 200))
    assert (nothing == IGNORE).all()


def test_what_moves_through_a_static_scene_takes_the_class_of_movement(clip: Path) -> None:
    examples = annotated_frames(clip, SCENE, frames_a_second=2)
    assert [example.name for example in examples] == [f"bridge_{at}" for at in (0, 467, 1000, 1467)]
    middle = examples[2]  # the box is at 60 to 90
    assert (middle.target[68:80, 66:84] == CAR).all()
    assert (middle.target[52:60] == ROAD).all()
    assert (middle.target[68:80, :50] == ROAD).all()
    assert (middle.target[:44] == SKY).all()
    rim = middle.target[60:64, 66:84]
    assert set(np.unique(rim)) <= {ROAD, IGNORE, CAR}


def test_a_change_of_light_is_no_movement() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(60, 120, (96, 160, 3)).astype(np.uint8)
    brighter = (scene + 30).astype(np.uint8)
    still, moving = np.full((96, 160), ROAD, np.uint8), np.full((96, 160), CAR, np.uint8)
    assert (with_movement(still, moving, brighter, scene) == ROAD).mean() > 0.99


def test_a_moving_camera_has_the_frames_that_were_drawn_and_no_others(clip: Path) -> None:
    drawn = {"at": 1.02, "regions": [{"label": "road", "polygon": WHOLE}]}
    (example,) = annotated_frames(clip, Annotation.model_validate({"frames": [drawn]}), frames_a_second=5)
    assert example.name == "bridge_1000"
    assert (example.target == ROAD).all()


def test_clips_that_are_held_back_or_not_there_are_left_out(clip: Path, tmp_path: Path) -> None:
    text = yaml.safe_dump(SCENE.model_dump(mode="json"))
    for name in ("bridge", "elsewhere"):
        (tmp_path / f"{name}.yaml").write_text(text)
    root = clip.parents[2]
    assert static_clips(tmp_path) == annotated_clips(tmp_path) == ["bridge", "elsewhere"]
    assert len(load_annotated(root, "train", 1.0, directory=tmp_path)) == 2
    assert not load_annotated(root, "train", 1.0, without=["bridge"], directory=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": [{"regions": [{"label": "street", "polygon": WHOLE}]}]}, "street is no class"),
        ({"frames": [{"regions": [{"label": "road", "polygon": (0, 0, 5, 5)}]}]}, "at least three corners"),
        (
            {"frames": [*SCENE.model_dump()["frames"], {**SCENE.model_dump()["frames"][0], "at": 1}]},
            "one frame",
        ),
        (
            {"frames": [{**SCENE.model_dump()["frames"][0], "at": 1}]},
            "only be told where the camera is static",
        ),
    ],
)
def test_mistakes_in_a_drawing_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Annotation.model_validate(SCENE.model_dump() | change)


@pytest.mark.parametrize("path", sorted(ANNOTATIONS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_drawings_that_ship_can_be_read_and_have_a_source(path: Path) -> None:
    assert load_annotation(path).frames
    assert sources_of([path.stem])
