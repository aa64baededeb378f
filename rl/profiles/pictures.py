"""Pictures: what every variant sees in one frame of each clip, at three compression settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image as Picture

from clients.codec import CodecFlags, Image, rgb
from clients.palette import palette
from configs.bundle import Bundle
from configs.ladder import CompressionSetting
from rl.profiles.clips import Clip, ClipSegment, read_segments
from rl.profiles.figures import STYLE
from rl.profiles.outcomes import compress, decompress, predict
from rl.vss.datasets import labelled_clips
from serving.miou import LabelMap, frame_miou, overlap
from serving.vss.network import Network

SETTINGS = (CompressionSetting(1.0, 20), CompressionSetting(0.75, 26), CompressionSetting(0.5, 30))
MOST_SEARCHED = 5
"""Segments of a clip that are looked through for one with a pseudo-label; they are held in memory."""
LEGEND_SHARE = 0.001  # of all pixels drawn, from which on a class is in the legend
UNLABELLED = 235  # the grey level of pixels whose pseudo-label is unsure
CELL = (2.6, 1.4625)  # inches, 16:9


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of a clip as everything sees it; label maps are (height, width)."""

    clip: str
    frame: Image
    pseudo_label: LabelMap | None
    predictions: tuple[tuple[LabelMap, ...], ...]  # by setting, then variant
    agreement: tuple[tuple[float, ...], ...]  # mIoU of this frame


def draw_pictures(
    bundle: Bundle, networks: Sequence[Network], clips: Sequence[Clip], data: Path | None, folder: Path
) -> list[Path]:
    """Writes one JPEG a clip into `folder`; pseudo-labels are those of `data`, where it has any."""
    labels = labelled_clips(data, "test") if data else {}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for clip in clips:
        own = labels.get(clip.name, [])
        path = folder / f"{clip.name}.jpg"
        draw_moment(_moment(bundle, networks, _best_segment(clip, own), own), bundle, path)
        paths.append(path)
    return paths


def _best_segment(clip: Clip, labels: list[tuple[int, Path]]) -> ClipSegment:
    """The first of the clip's segments that a pseudo-label falls into, else its first."""
    segments = list(read_segments(replace(clip, chosen=clip.chosen[:MOST_SEARCHED])))
    return next((segment for segment in segments if _labels_within(segment, labels)), segments[0])


def _labels_within(segment: ClipSegment, labels: list[tuple[int, Path]]) -> list[tuple[float, Path]]:
    """Times (s) and files of the pseudo-labels between the segment's first and last frame."""
    seconds = [(milliseconds / 1e3, path) for milliseconds, path in labels]
    return [(at, path) for at, path in seconds if segment.times[0] <= at <= segment.times[-1]]


def _moment(
    bundle: Bundle, networks: Sequence[Network], segment: ClipSegment, labels: list[tuple[int, Path]]
) -> Moment:
    """The frame of a segment that is nearest to a pseudo-label; its middle one if none is within it."""
    number, label = len(segment.frames) // 2, None
    if within := _labels_within(segment, labels):
        number = int(np.abs(np.array(segment.times) - within[0][0]).argmin())
        label = _read_label(within[0][1], segment)
    frame = rgb(segment.frames[number])
    codec = CodecFlags.model_validate(bundle.manifest.codec)
    predictions = []
    for setting in SETTINGS:
        decoded = decompress(compress(segment, setting, codec), segment.format)[number]
        predictions.append(tuple(predict(network, decoded, segment.format) for network in networks))
    reference, classes = predictions[0][0], len(bundle.manifest.classes)
    agreement = tuple(
        tuple(float(frame_miou(overlap(reference, labels, classes))) for labels in row) for row in predictions
    )
    return Moment(segment.clip, frame, label, tuple(predictions), agreement)


def _read_label(path: Path, segment: ClipSegment) -> LabelMap:
    size = (segment.format.width, segment.format.height)
    return np.asarray(Picture.open(path).resize(size, Picture.Resampling.NEAREST))


def draw_moment(moment: Moment, bundle: Bundle, path: Path) -> None:
    """One sheet: a row with the input, then a row of all variants for each setting, then the legend."""
    colours, columns = palette(bundle.manifest.classes), max(2, len(bundle.manifest.variants))
    with rc_context({**STYLE, "font.size": 9, "axes.titleweight": "normal"}):
        figure = Figure(
            figsize=(columns * CELL[0] + 0.6, (len(SETTINGS) + 1) * (CELL[1] + 0.25) + 0.7), dpi=100
        )
        grid = figure.subplots(len(SETTINGS) + 1, columns, gridspec_kw={"wspace": 0.03, "hspace": 0.2})
        figure.subplots_adjust(left=0.055, right=0.995, top=0.93, bottom=0.075)
        for axes in grid.flat:
            axes.set_axis_off()
        figure.suptitle(moment.clip.replace("_", " "), x=0.055, ha="left", weight="bold", size=12)
        _show(grid[0, 0], moment.frame, "input")
        if moment.pseudo_label is not None:
            labelled = colours.copy()
            labelled[len(bundle.manifest.classes) :] = UNLABELLED
            _show(grid[0, 1], labelled[moment.pseudo_label], "pseudo-label")
        for row, setting in enumerate(SETTINGS):
            for column, labels in enumerate(moment.predictions[row]):
                name = f"{bundle.manifest.variants[column].name}  {moment.agreement[row][column]:.2f}"
                _show(grid[row + 1, column], colours[labels], name)
            _row_name(grid[row + 1, 0], f"scale {setting.scale:g}, QP {setting.qp}")
        figure.legend(
            handles=_legend(moment, bundle), loc="lower center", ncols=10, handlelength=1, columnspacing=1.2
        )
        figure.savefig(path, pil_kwargs={"quality": 82, "optimize": True})


def _show(axes: Axes, picture: Image, title: str) -> None:
    axes.imshow(picture, interpolation="antialiased")
    axes.set_title(title, loc="left", pad=3)


def _row_name(axes: Axes, name: str) -> None:
    axes.text(-0.03, 0.5, name, rotation=90, ha="right", va="center", transform=axes.transAxes, weight="bold")


def _legend(moment: Moment, bundle: Bundle) -> list[Patch]:
    """The classes that are seen, by their number."""
    drawn = np.stack([labels for row in moment.predictions for labels in row])
    pixels = np.bincount(drawn.ravel(), minlength=len(bundle.manifest.classes))
    colours = palette(bundle.manifest.classes) / 255
    return [
        Patch(color=tuple(colours[index]), label=name)
        for index, name in enumerate(bundle.manifest.classes)
        if pixels[index] >= LEGEND_SHARE * pixels.sum()
    ]
