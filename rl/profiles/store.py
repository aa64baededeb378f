"""A profile on disk: one Arrow file a segment, memory-mapped when read (format: docs/profiles.md).

`FOLDER/sizes/TIMING/CLIP/INDEX.arrow` hold bytes, frame types, motion and the estimator's input; they depend
on the codec's flags and the compression settings. `FOLDER/outcomes/...` hold what a bundle's networks make of
the same segments. Every file says in its schema's metadata what it was made with, and appears whole or not
at all, so a killed run goes on where it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from clients.codec import CodecFlags
from clients.luma import INPUT_SIZE
from clients.protocol import SegmentFormat
from configs.bundle import Bundle
from configs.faults import describe_faults
from configs.ladder import CompressionSpace, Ladder
from rl.profiles.sizes import MOTION_BINS, SegmentSizes

ORIGIN, MADE_ON = b"penance", b"made_on"
Row = dict[str, Any]
Origin = TypeVar("Origin", bound=BaseModel)


class ProfileError(ValueError):
    """A profile is missing, damaged or was made with something else; the message says what to do."""


class SizesOrigin(BaseModel):
    """What sizes depend on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: CodecFlags
    space: CompressionSpace

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        return cls(codec=CodecFlags.model_validate(bundle.manifest.codec), space=space_of(bundle.ladder))


def space_of(ladder: Ladder) -> CompressionSpace:
    """A ladder without its variants."""
    return CompressionSpace(scales=ladder.scales, qps=ladder.qps)


def write_row(path: Path, origin: BaseModel, row: Mapping[str, pa.Array], made_on: str | None = None) -> None:
    """One row with its origin and the processor that made it; other readers see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    metadata = {ORIGIN: origin.model_dump_json()} | ({MADE_ON: made_on} if made_on else {})
    table = pa.table(dict(row)).replace_schema_metadata(metadata)
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    partial.replace(path)


def read_row(path: Path, origin: BaseModel) -> pa.Table:
    """The row, its large values still on disk. Raises `ProfileError`, also where the origin is another."""
    table, found = _read(path, type(origin))
    if found != origin:
        raise ProfileError(
            f"{path} was made with another bundle or other flags ({found}), expected {origin}: record the "
            "profile again with penance-profile record, or give the bundle that it was made with"
        )
    return table


def read_origin(path: Path, kind: type[Origin]) -> Origin:
    """What a file says that it was made with. Raises `ProfileError`."""
    return _read(path, kind)[1]


def _read(path: Path, kind: type[Origin]) -> tuple[pa.Table, Origin]:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return table, kind.model_validate_json((table.schema.metadata or {}).get(ORIGIN, b""))
    except (OSError, pa.ArrowInvalid) as error:
        raise ProfileError(f"{path} is damaged: delete it and record it again ({error})") from error
    except ValidationError as error:
        raise ProfileError(f"{path} does not say how it was made: {describe_faults(error)}") from error


def sizes_path(folder: Path, timing: str, clip: str, index: int) -> Path:
    return folder / "sizes" / timing / clip / f"{index:05d}.arrow"


def write_sizes(path: Path, origin: SizesOrigin, sizes: SegmentSizes) -> None:
    """Writes one segment's sizes."""
    write_row(
        path,
        origin,
        {
            "clip": pa.array([sizes.clip]),
            "index": pa.array([sizes.index], pa.int32()),
            "format": pa.array([sizes.format.model_dump_json()]),
            "bytes": pa.array([sizes.bytes], pa.list_(pa.int64())),
            "frame_types": pa.array([sizes.frame_types]),
            "motion": pa.array([sizes.motion.ravel()], pa.list_(pa.int64())),
            "luma": pa.array([sizes.luma.tobytes()], pa.large_binary()),
        },
    )


def read_sizes(path: Path, origin: SizesOrigin) -> SegmentSizes:
    """One segment's sizes, the luma memory-mapped. Raises `ProfileError`."""
    table = read_row(path, origin)
    luma = np.frombuffer(table["luma"][0].as_buffer(), np.uint8)
    luma.flags.writeable = False  # the file is mapped for reading: writing would end the process
    return SegmentSizes(
        clip=table["clip"][0].as_py(),
        index=table["index"][0].as_py(),
        format=SegmentFormat.model_validate_json(table["format"][0].as_py()),
        bytes=np.array(table["bytes"][0].as_py(), np.int64),
        frame_types=table["frame_types"][0].as_py(),
        motion=np.array(table["motion"][0].as_py(), np.int64).reshape(2, MOTION_BINS),
        luma=luma.reshape(-1, *INPUT_SIZE),
    )


def stored_sizes(folder: Path, timing: str, origin: SizesOrigin) -> Iterator[SegmentSizes]:
    """All segments of a timing, by clip and index. Raises `ProfileError`."""
    found = sorted((folder / "sizes" / timing).glob("*/*.arrow"))
    if not found:
        raise ProfileError(f"{folder} holds no sizes for {timing}: record them with penance-profile")
    for path in found:
        yield read_sizes(path, origin)
