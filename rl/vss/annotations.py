"""Labels drawn by hand, for views that no pseudo-label knows: bridges, roofs, junctions from above, night.

One YAML file a clip, `configs/recipes/annotations/CLIP.yaml`: frames, each a list of polygons that are
painted one over the other; what no polygon covers is ignored. Where the camera stands still, one drawing
serves the whole clip: it shows the scene without what moves, and what differs from that scene takes the
class that the file gives to movement there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Self

import av
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

import configs
from rl.vss.datasets import IGNORE, LabelledImage, frame_name, narrowed
from serving.vss.classes import STREET_CLASSES

ANNOTATIONS = Path(configs.__file__).with_name("recipes") / "annotations"
UNIT = 1000  # coordinates are thousandths of the frame's width and height
SCENE_FRAMES = 41  # whose median is the scene without what moves
MOVED = 22  # grey levels that a pixel must differ by from that scene
LIGHT = 30  # pixels over which a difference is the light's, not a thing's
SHADOW = 0.4  # darker than the scene, but by no more than this share, and of its colour: a shadow, ignored
WITHOUT_SPECKS = (ImageFilter.MinFilter(3), ImageFilter.MaxFilter(3))
WITHOUT_HOLES = (ImageFilter.MaxFilter(7), ImageFilter.MinFilter(7))  # as a windscreen of the road's colour
RIM = ImageFilter.MaxFilter(5)

Frame = NDArray[np.uint8]


def _is_class(name: str) -> str:
    if name != "ignore" and name not in STREET_CLASSES:
        raise ValueError(f"{name} is no class: expected 'ignore' or one of {', '.join(STREET_CLASSES)}")
    return name


def _is_polygon(points: tuple[float, ...]) -> tuple[float, ...]:
    if len(points) < 6 or len(points) % 2:
        raise ValueError(f"a polygon is x, y of at least three corners in a row, got {len(points)} numbers")
    return points


ClassName = Annotated[str, AfterValidator(_is_class)]
Polygon = Annotated[tuple[float, ...], AfterValidator(_is_polygon)]


class Region(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    label: ClassName
    polygon: Polygon = Field(description="x, y, x, y, ... in thousandths of width and height")


class AnnotatedFrame(BaseModel):
    """What is seen at one time, or, of a static camera, the scene at any time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float | None = Field(default=None, ge=0, description="seconds; none: the scene of a static camera")
    regions: tuple[Region, ...] = Field(min_length=1, description="painted in this order")


class Annotation(BaseModel):
    """The drawings of one clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frames: tuple[AnnotatedFrame, ...] = Field(min_length=1)
    moving: tuple[Region, ...] = Field(default=(), description="what movement is, and where; in this order")

    @model_validator(mode="after")
    def _static_or_not(self) -> Self:
        scenes = sum(frame.at is None for frame in self.frames)
        if scenes and len(self.frames) > 1:
            raise ValueError("a static scene is one frame without a time, beside no others")
        if self.moving and not scenes:
            raise ValueError("movement can only be told where the camera is static: leave out the time")
        return self

    @property
    def static(self) -> bool:
        return self.frames[0].at is None


def load_annotation(path: Path) -> Annotation:
    """Reads one clip's drawings; `pydantic.ValidationError` says which part is wrong and why."""
    return Annotation.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def annotated_clips(directory: Path = ANNOTATIONS) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.yaml"))


def static_clips(directory: Path = ANNOTATIONS) -> list[str]:
    """Annotated clips whose every frame has labels."""
    names = annotated_clips(directory)
    return [name for name in names if load_annotation(directory / f"{name}.yaml").static]


def load_annotated(
    root: Path,
    split: str,
    frames_a_second: float,
    without: Collection[str] = (),
    directory: Path = ANNOTATIONS,
) -> list[LabelledImage]:
    """Frames of the annotated clips that `root` has: those that were drawn, and those of static cameras at
    regular times."""
    examples: list[LabelledImage] = []
    for name in annotated_clips(directory):
        clip = root / "clips" / split / f"{name}.mp4"
        if name not in without and clip.exists():
            examples += annotated_frames(clip, load_annotation(directory / f"{name}.yaml"), frames_a_second)
    return examples


def annotated_frames(clip: Path, annotation: Annotation, frames_a_second: float) -> list[LabelledImage]:
    frames = dict(timed_frames(clip))
    times = np.array(list(frames))
    if not annotation.static:
        return [
            LabelledImage(frame_name(clip, at), frames[at], paint(drawn.regions, frames[at].shape[:2]))
            for drawn in annotation.frames
            for at in [float(times[np.abs(times - (drawn.at or 0)).argmin()])]
        ]
    scene = static_scene(list(frames.values()))
    still = paint(annotation.frames[0].regions, scene.shape[:2])
    moving = paint(annotation.moving, scene.shape[:2])
    wanted = np.arange(0, times[-1] + 1e-6, 1 / frames_a_second)
    chosen = dict.fromkeys(float(times[np.abs(times - at).argmin()]) for at in wanted)
    return [
        LabelledImage(frame_name(clip, at), frames[at], with_movement(still, moving, frames[at], scene))
        for at in chosen
    ]


def timed_frames(clip: Path) -> Iterator[tuple[float, Frame]]:
    """(seconds, frame) of a whole clip, as `narrowed` gives it."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            yield frame.time or 0.0, narrowed(frame)


def static_scene(frames: Sequence[Frame]) -> Frame:
    """(height, width, 3): the median of frames spread over the clip, so that what moves is gone."""
    chosen = np.linspace(0, len(frames) - 1, min(SCENE_FRAMES, len(frames))).round().astype(int)
    median = np.median(np.stack([frames[index] for index in chosen]), axis=0)
    return np.asarray(median, np.uint8)


def paint(regions: Sequence[Region], shape: tuple[int, int]) -> Frame:
    """(height, width) class ids, `IGNORE` where no region is."""
    height, width = shape
    canvas = Image.new("L", (width, height), IGNORE)
    draw = ImageDraw.Draw(canvas)
    for region in regions:
        points = region.polygon
        corners = [
            (x * width / UNIT, y * height / UNIT) for x, y in zip(points[::2], points[1::2], strict=True)
        ]
        draw.polygon(corners, fill=IGNORE if region.label == "ignore" else STREET_CLASSES.index(region.label))
    return np.array(canvas)


def with_movement(still: Frame, moving: Frame, frame: Frame, scene: Frame) -> Frame:
    """The labels of the scene, with what moves in `frame`; shadows and the rims of what moves are ignored."""
    now, then = _blurred(frame, 1.2), _blurred(scene, 1.2)
    now = np.maximum(now - _light(now - then), 0)
    differs = np.abs(now - then).max(axis=2) > MOVED
    ratio = (now.mean(2) + 1) / (then.mean(2) + 1)
    tint = np.abs(now / (now.sum(2, keepdims=True) + 1) - then / (then.sum(2, keepdims=True) + 1)).max(2)
    shadow = differs & (ratio < 1) & (ratio > 1 - SHADOW) & (tint < 0.02)
    body = _filtered(differs & ~shadow, *WITHOUT_SPECKS, *WITHOUT_HOLES)
    labels = np.where(_filtered(differs | body, RIM), IGNORE, still)
    return np.where(body, moving, labels).astype(np.uint8)


def _light(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """What clouds and exposure changed (height, width, 1): the mean difference around each pixel, of pixels
    that do not differ by much."""
    grey = difference.mean(2)
    still = np.abs(grey) < 2 * MOVED
    centred = np.where(still, grey + 128, 128).round().astype(np.uint8)  # Pillow blurs bytes
    total = _blurred(centred, LIGHT) - 128
    weight = _blurred(still.astype(np.uint8) * np.uint8(255), LIGHT) / 255
    mean = np.clip(total / np.maximum(weight, 0.05), -2 * MOVED, 2 * MOVED)
    return mean[..., None].astype(np.float32)


def _blurred(frame: Frame, radius: float) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius))).astype(np.float32)


def _filtered(mask: NDArray[np.bool_], *filters: ImageFilter.Filter) -> NDArray[np.bool_]:
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    for one in filters:
        image = image.filter(one)
    return np.asarray(image) > 0
