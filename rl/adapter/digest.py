"""A profile's digest: one small file to pass on, enough to learn and to compare policies (docs/profiles.md).

It holds what a profile comes to for one family: bytes and accuracies, what the bundle's estimator says of
each segment, and what each softmax says of its own accuracy. There is no picture in it, and none can be made
of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from configs.bundle import Bundle
from configs.faults import describe_faults
from configs.timing import TIMINGS
from rl.adapter.replay import Replay
from rl.profiles.choice import Known
from rl.profiles.index import ClipIndex, IndexedClip
from rl.profiles.store import ORIGIN, ProfileError
from serving.miou import Floats
from serving.performance.expectations import expectation_count

LEVEL = 19  # of zstd: written once, read often


class DigestOrigin(BaseModel):
    """What a digest was made with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    estimator: str | None  # checksum of the bundle's, on whose features policies learn
    clips: tuple[IndexedClip, ...]


def write_digest(
    path: Path, replay: Replay, index: ClipIndex, bundle: Bundle, expectations: NDArray[np.float16]
) -> None:
    """One row a segment. expectations: (segments, configurations, count)."""
    clips = [index[str(clip)] for clip in sorted(set(replay.clips))]
    nameless = tuple(clip.model_copy(update={"file": Path(clip.file).name}) for clip in clips)
    origin = DigestOrigin(family=bundle.family, estimator=_estimator(bundle), clips=nameless)
    columns = {
        "clip": pa.array(replay.clips.tolist()),
        "index": pa.array(replay.times, pa.int32()),
        "bytes": _rows(replay.known.bytes.astype(np.int32)),
        "miou": _rows(replay.known.miou),
        "first_frame": _rows(replay.first_frame.astype(np.float32)),
        "last_frame": _rows(replay.last_frame.astype(np.float32)),
        "estimated": _rows(replay.estimated),
        "expectations": _rows(expectations),
    }
    if replay.features.shape[1]:  # else the bundle has no estimator
        columns["features"] = _rows(replay.features)
    table = pa.table(columns).replace_schema_metadata({ORIGIN: origin.model_dump_json()})
    partial = path.with_suffix(".partial")
    lists = [f"{name}.list.element" for name in columns if name not in ("clip", "index", "bytes")]
    pq.write_table(  # the bytes of floats apart by their place, which packs them by a third better
        table,
        partial,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=False,
        use_byte_stream_split=lists,
    )
    partial.replace(path)


def read_digest(
    path: Path, index: ClipIndex | None, bundle: Bundle
) -> tuple[Replay, ClipIndex, NDArray[np.float16]]:
    """Its segments (those of an index of one's own, where there is one), its index, and expectations.

    Raises `ProfileError`, also where it was made with another family or another estimator.
    """
    table, origin = _open_digest(path)
    if (origin.family, origin.estimator) != (bundle.family, _estimator(bundle)):
        raise ProfileError(
            f"{path} is a digest of {origin.family} with estimator {origin.estimator}, {bundle.id} has "
            f"{bundle.family} with {_estimator(bundle)}: give the bundle that it was made with, or make it "
            "anew with penance-profile digest"
        )
    index = index or ClipIndex(origin.clips)
    table = table.filter(pa.array([clip in index for clip in table["clip"].to_pylist()]))
    if not len(table):
        raise ProfileError(f"{path} holds outcomes of no clip that is in the index: leave --index out")
    configurations, count = len(bundle.ladder), expectation_count(len(bundle.manifest.classes))
    seconds, costs = TIMINGS[0].seconds, np.array(bundle.costs)
    clips = np.array(table["clip"].to_pylist())
    found = [index[str(clip)] for clip in clips]
    replay = Replay(
        ladder=bundle.ladder,
        seconds=seconds,
        clips=clips,
        drives=np.array([clip.drive for clip in found]),
        kinds=np.array([clip.kind for clip in found]),
        times=table["index"].to_numpy().astype(np.int64),
        known=Known.of(_floats(table, "bytes").astype(np.int64), _floats(table, "miou"), costs, seconds),
        first_frame=_floats(table, "first_frame"),
        last_frame=_floats(table, "last_frame"),
        estimated=_floats(table, "estimated"),
        features=_floats(table, "features").astype(np.float32),
        embeddings=np.zeros((len(table), configurations, 0), np.float16),
        predicted=np.zeros((len(table), 0), np.float16),
        advantage=np.zeros(configurations),
        familiar=np.array([clip.split == "train" for clip in found]),
    )
    expectations = _floats(table, "expectations").astype(np.float16)
    return replay, index, expectations.reshape(len(table), configurations, count)


def _open_digest(path: Path) -> tuple[pa.Table, DigestOrigin]:
    try:
        table = pq.read_table(path)
        return table, DigestOrigin.model_validate_json((table.schema.metadata or {}).get(ORIGIN, b""))
    except (OSError, pa.ArrowInvalid) as error:
        raise ProfileError(f"{path} is neither a profile's folder nor a digest ({error})") from error
    except ValidationError as error:
        raise ProfileError(f"{path} does not say how it was made: {describe_faults(error)}") from error


def _estimator(bundle: Bundle) -> str | None:
    """Checksum of the bundle's estimator for a profile's segments."""
    entry = bundle.manifest.estimator(TIMINGS[0])
    return None if entry is None else bundle.manifest.checksums[entry.model]


def _rows(values: NDArray[np.generic]) -> pa.Array:
    """(segments, ...) as one list a segment."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values[0].size)


def _floats(table: pa.Table, name: str) -> Floats:
    """(segments, n)."""
    if name not in table.column_names:
        return np.zeros((len(table), 0))
    values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float64).reshape(len(table), -1)
