"""The body of `penance-profile scenes`: drives as video files with labels and an index beside them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image
from rich.console import Console

from clients.scene import StreetScene
from rl.profiles.index import ClipIndex, IndexedClip, Split, write_index
from rl.profiles.progress import segment_progress
from rl.scenes.look import FRAME, CameraModel, Look, Picture, draw_look

PARTS: tuple[Split, ...] = ("train", "train", "train", "val", "test")
"""Splits of successive drives, over and over."""


def write_scenes(
    folder: Path, drives: int, seconds: float, fps: float, labels_every: int, seed: int, console: Console
) -> ClipIndex:
    """Writes `clips/NAME.mp4`, `labels/NAME_MILLISECONDS.png` (street classes, 1280x720) and `clips.tsv`.

    The same arguments give the same files. Raises `OSError` where the folder cannot be written to.
    """
    for part in ("clips", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    clips, frames = [], round(seconds * fps)
    with segment_progress(console, "frames") as progress:
        bar = progress.add_task("", total=drives * frames)
        for drive in range(drives):
            name = f"scene_{seed}_{drive}"
            look = draw_look(np.random.default_rng([seed, drive]))
            progress.update(bar, description=name)
            pictures = _drive(folder, name, look, 1000 * seed + drive, frames, fps, labels_every)
            for _ in _write_video(folder / "clips" / f"{name}.mp4", pictures, look, fps):
                progress.advance(bar)
            clips.append(
                IndexedClip(
                    name=name,
                    file=str((folder / "clips" / f"{name}.mp4").resolve()),
                    drive=name,
                    split=PARTS[drive % len(PARTS)],
                    kind="generated",
                    width=look.size[0],
                    height=look.size[1],
                    fps=fps,
                )
            )
    index = ClipIndex(clips)
    write_index(folder / "clips.tsv", index)
    return index


def _drive(
    folder: Path, name: str, look: Look, seed: int, frames: int, fps: float, labels_every: int
) -> Iterator[Picture]:
    """Pictures (720, 1280, 3) of a drive; labels are written on the way."""
    scene, camera = StreetScene(seed, *FRAME, look.speed), CameraModel(look, seed)
    for number in range(frames):
        clean, labels = scene.labelled(number / fps)
        if labels_every and number % labels_every == 0:
            milliseconds = round(1000 * number / fps)
            path = folder / "labels" / f"{name}_{milliseconds}.png"
            Image.fromarray(camera.labels(labels, number)).save(path)
        yield camera.picture(clean, number)


def _write_video(path: Path, pictures: Iterator[Picture], look: Look, fps: float) -> Iterator[None]:
    """Compresses a drive as its file was; yields after each frame."""
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        (stream.width, stream.height), stream.pix_fmt = look.size, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "qp": str(look.qp)}
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            container.mux(stream.encode(frame.reformat(*look.size, "yuv420p", interpolation="AREA")))
            yield
        container.mux(stream.encode(None))
