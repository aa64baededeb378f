"""The clip index: which videos there are, which drive each belongs to, and what each drive is for.

A *drive* is one camera on one trip. Splits go by drive, never by file, because two files of one drive show
the same street. An index is a TSV that people can edit; its videos are found from its own folder.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import configs
from clients.errors import SourceError
from configs.faults import describe_faults
from rl.profiles.clips import open_clip, video_files

DRIVES_FILE = Path(configs.__file__).with_name("clips") / "streets.yaml"
Split = Literal["train", "val", "test", "measure", "other"]
Kind = Literal["real", "generated"]
SPLITS: tuple[Split, ...] = ("train", "val", "test", "measure", "other")
Name = Annotated[str, Field(pattern=r"^[\w.-]{1,128}$")]


class IndexedClip(BaseModel):
    """One video. `measure` is the paper's set for the measurements of its section 2; `other` is for nothing
    that is reported as street video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    file: str = Field(description="from the index's folder, or absolute")
    drive: Name
    split: Split
    kind: Kind = "real"
    width: int = Field(gt=0, description="native, in square pixels")
    height: int = Field(gt=0)
    fps: float | None = Field(None, gt=0, description="native; none where the file does not say")


class Drive(BaseModel):
    """Clips that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    clips: tuple[Name, ...] = Field(min_length=1)
    split: Split | None = None


class Drives(BaseModel):
    """What is known of drives beyond the files' names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    drives: tuple[Drive, ...] = ()

    @model_validator(mode="after")
    def _every_clip_has_one_drive(self) -> Self:
        clips = [clip for drive in self.drives for clip in drive.clips]
        twice = sorted({clip for clip in clips if clips.count(clip) > 1})
        if twice:
            raise ValueError(f"in more than one drive: {', '.join(twice)}")
        return self

    def of(self, clip: str) -> Drive:
        """The drive of a clip; its own where none is listed."""
        for drive in self.drives:
            if clip in drive.clips:
                return drive
        return Drive(name=clip, clips=(clip,))


class IndexFault(ValueError):
    """The index cannot be used; the message says which line is wrong and what was expected."""


class ClipIndex:
    """Indexed clips, none twice and no drive in two splits."""

    def __init__(self, clips: Iterable[IndexedClip]) -> None:
        self.clips = tuple(clips)
        self._by_name = {clip.name: clip for clip in self.clips}
        twice = sorted(name for name, count in Counter(c.name for c in self.clips).items() if count > 1)
        if twice:
            raise IndexFault(f"clips need names of their own, found more than once: {', '.join(twice)}")
        splits: dict[str, set[Split]] = {}
        for clip in self.clips:
            splits.setdefault(clip.drive, set()).add(clip.split)
        torn = sorted(drive for drive, found in splits.items() if len(found) > 1)
        if torn:
            raise IndexFault(f"a drive has one split, these have several: {', '.join(torn)}")

    def __getitem__(self, name: str) -> IndexedClip:
        try:
            return self._by_name[name]
        except KeyError as error:
            raise IndexFault(f"{name} is not in the clip index: index the folder again") from error

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def of_split(self, *splits: Split) -> list[IndexedClip]:
        """The clips that are for one of these."""
        return [clip for clip in self.clips if clip.split in splits]


def index_clip(path: Path, drive: str, split: Split, notify: Callable[[str], None]) -> IndexedClip | None:
    """A video as the index has it; `notify` hears why where it cannot be opened."""
    try:
        found = open_clip(path)
    except SourceError as error:
        notify(f"left out: {error}")
        return None
    return IndexedClip(
        name=path.stem,
        file=str(path.resolve()),
        drive=drive,
        split=split,
        width=found.native_size[0],
        height=found.native_size[1],
        fps=found.native_fps,
    )


def index_folder(
    folder: Path, drives: Drives, notify: Callable[[str], None], default: Split = "test"
) -> ClipIndex:
    """Indexes every video under a folder. The split is the drive's, else the name of a folder above the
    video, else `default`. `notify` hears of what is left out. Raises `IndexFault`."""
    clips = []
    for path in video_files(folder):
        drive = drives.of(path.stem)
        parts = path.relative_to(folder).parent.parts
        named: Split = next((s for s in SPLITS if s in (folder.name, *parts)), default)
        clip = index_clip(path, drive.name, drive.split or named, notify)
        if clip is not None:
            clips.append(clip)
    return ClipIndex(clips)


def load_drives(path: Path = DRIVES_FILE) -> Drives:
    """Reads the list of drives. Raises `IndexFault`."""
    try:
        return Drives.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        reason = describe_faults(error) if isinstance(error, ValidationError) else str(error)
        raise IndexFault(f"{path} is no list of drives: {reason}") from error


def write_index(path: Path, index: ClipIndex) -> None:
    """One line a clip, with a header; videos below the index's folder are named from there."""
    folder = path.parent.resolve()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(IndexedClip.model_fields), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for clip in index.clips:
            below = Path(clip.file).is_relative_to(folder)
            place = str(Path(clip.file).relative_to(folder)) if below else clip.file
            writer.writerow(clip.model_dump() | {"file": place})


def read_index(path: Path) -> ClipIndex:
    """Reads an index; files are found from its folder. Raises `IndexFault`."""
    clips = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file, delimiter="\t"), 2):
                try:
                    clip = IndexedClip.model_validate({**row, "fps": row.get("fps") or None})
                except ValidationError as error:
                    raise IndexFault(f"{path}, line {number}: {describe_faults(error)}") from error
                clips.append(clip.model_copy(update={"file": str(path.parent / clip.file)}))
    except (OSError, UnicodeDecodeError) as error:
        raise IndexFault(f"{path} cannot be read: {error}") from error
    return ClipIndex(clips)
