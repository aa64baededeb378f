"""Outcomes of a bundle's networks on disk, beside the sizes of the same segments (docs/profiles.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from rl.profiles.logits import Quantised, packed, unpacked
from rl.profiles.outcomes import SegmentOutcomes
from rl.profiles.store import ProfileError, Row, read_origin, read_row, write_row
from serving.miou import Overlap, segment_miou

GRADIENTS = "logit_gradients"


class OutcomesOrigin(BaseModel):
    """What outcomes depend on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str = Field(description="`Bundle.family`")
    frame_stride: int = Field(ge=1)
    dtype: str = Field(default="float32", description="networks' numeric type; references are float32")


def outcomes_path(folder: Path, timing: str, family: str, clip: str, index: int) -> Path:
    return folder / "outcomes" / timing / family / clip / f"{index:05d}.arrow"


def write_outcomes(path: Path, origin: OutcomesOrigin, outcomes: SegmentOutcomes, made_on: str) -> None:
    """Writes one segment's outcomes."""
    row = {
        "clip": pa.array([outcomes.clip]),
        "index": pa.array([outcomes.index], pa.int32()),
        "bytes": pa.array([outcomes.bytes], pa.list_(pa.int64())),
        "miou": pa.array([outcomes.miou()], pa.list_(pa.float64())),
        **_overlap_columns("", outcomes.overlap),
        GRADIENTS: pa.array([[packed(steps) for steps in outcomes.logits]], pa.list_(pa.binary())),
        "logit_shapes": pa.array([[list(steps.shape) for steps in outcomes.logits]]),
    }
    if outcomes.truth is not None:
        row |= _overlap_columns("true_", outcomes.truth)
        row["true_miou"] = pa.array([segment_miou(outcomes.truth)], pa.list_(pa.float64()))
    write_row(path, origin, row, made_on)


def logits_of(table: pa.Table, configuration: int) -> Quantised:
    """The last frame's of one configuration; the others stay on disk. Raises `ProfileError`."""
    if GRADIENTS not in table.column_names:
        raise ProfileError("the profile packs logits as an older version did: record it again")
    body, shape = (table[name][0][configuration].as_py() for name in (GRADIENTS, "logit_shapes"))
    return unpacked(body, tuple(shape))


def read_outcomes(path: Path, origin: OutcomesOrigin, with_logits: bool = False) -> SegmentOutcomes:
    """One segment's outcomes; logits, which are most of it, only where asked for. Raises `ProfileError`."""
    table = read_row(path, origin)
    logits: tuple[Quantised, ...] = ()
    if with_logits:
        logits = tuple(logits_of(table, number) for number in range(len(table["miou"][0])))
    return SegmentOutcomes(
        clip=table["clip"][0].as_py(),
        index=table["index"][0].as_py(),
        bytes=np.array(table["bytes"][0].as_py(), np.int64),
        overlap=_overlap_of(table, ""),
        truth=_overlap_of(table, "true_") if "true_shared" in table.column_names else None,
        logits=logits,
    )


def stored_outcomes(
    folder: Path, timing: str, family: str, with_logits: bool = False
) -> Iterator[SegmentOutcomes]:
    """All segments of a timing that a family was recorded on, by clip and index. Raises `ProfileError`."""
    found = outcome_files(folder, timing, family)
    origin = read_origin(found[0], OutcomesOrigin)
    for path in found:
        yield read_outcomes(path, origin, with_logits)


def outcome_files(folder: Path, timing: str, family: str) -> list[Path]:
    """One a segment, by clip and index. Raises `ProfileError` where there are none, or only those of other
    families."""
    found = sorted((folder / "outcomes" / timing / family).glob("*/*.arrow"))
    if not found:
        others = sorted(path.name for path in (folder / "outcomes" / timing).glob("*"))
        raise ProfileError(
            f"{folder} holds no outcomes of {family} for {timing} (those it holds were made with: "
            f"{', '.join(others) or 'nothing'}): record them with penance-profile record, or give the bundle "
            "that they were made with"
        )
    return found


def _overlap_columns(prefix: str, counts: Overlap) -> Row:
    parts = {"reference": counts.reference, "predicted": counts.predicted, "shared": counts.shared}
    columns: Row = {"shape": pa.array([list(counts.shared.shape)])} if not prefix else {}
    for name, values in parts.items():
        columns[f"{prefix}{name}"] = pa.array([values.astype(np.int32).ravel()], pa.list_(pa.int32()))
    return columns


def _overlap_of(table: pa.Table, prefix: str) -> Overlap:
    configurations, _, classes = table["shape"][0].as_py()
    reference, predicted, shared = (
        np.array(table[f"{prefix}{name}"][0].as_py(), np.int32)
        for name in ("reference", "predicted", "shared")
    )
    shape = (configurations, -1, classes)
    return Overlap(reference.reshape(1, -1, classes), predicted.reshape(shape), shared.reshape(shape))
