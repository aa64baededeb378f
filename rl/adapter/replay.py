"""A profile as arrays that cameras can be replayed on: every outcome of every segment, by row.

Rows are ordered by clip and time. A *run* is an unbroken row of segments of one clip; episodes lie within
runs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clients.bitrate import BitrateEstimator
from clients.state import MEGABYTE, StateLayout
from configs.bundle import Bundle, BundleError
from configs.ladder import Ladder
from configs.timing import TIMINGS, SegmentTiming
from rl.profiles.choice import Known
from rl.profiles.index import ClipIndex
from rl.profiles.store import ProfileError, SizesOrigin, read_origin, read_row, read_sizes, sizes_path
from rl.profiles.store_outcomes import OutcomesOrigin, outcome_files
from serving.miou import Floats, Overlap, frame_miou

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Replay:
    """Segments with all their outcomes. Where `embeddings` come from a memory-mapped file they stay there."""

    ladder: Ladder
    seconds: float
    clips: Names  # (segments,)
    drives: Names  # (segments,)
    kinds: Names  # (segments,) real or generated
    times: NDArray[np.int64]  # (segments,) index within the clip
    known: Known  # bytes and mIoU (segments, configurations), costs (configurations,)
    first_frame: Floats  # (segments, configurations) mIoU of the first measured frame alone
    last_frame: Floats  # ... of the last one: what an audit finds out
    estimated: Floats  # (segments, settings) bytes, as the camera estimates them
    features: NDArray[np.float32]  # (segments, features) x; no column without an estimator
    embeddings: NDArray[np.floating]  # (segments, configurations, embedding); no column without an encoder
    predicted: NDArray[np.float16]  # (segments, configurations) mIoU, as the accuracy head says; or no column
    advantage: NDArray[np.float64]  # (configurations,) of familiar drives (`rl.adapter.familiarity`)
    familiar: NDArray[np.bool_]  # (segments,) of drives that the family was trained on

    def __len__(self) -> int:
        return len(self.clips)

    @cached_property
    def layout(self) -> StateLayout:
        """The state's, for this profile."""
        return StateLayout(
            self.ladder.configurations, self.embeddings.shape[2], self.features.shape[1], self.seconds
        )

    @cached_property
    def megabytes(self) -> Floats:
        """(segments, configurations)."""
        return self.known.bytes / MEGABYTE

    @cached_property
    def runs(self) -> NDArray[np.int64]:
        """(runs, 2): first row, and the row after the last."""
        follows = (self.clips[1:] == self.clips[:-1]) & (self.times[1:] == self.times[:-1] + 1)
        cuts = np.flatnonzero(~follows) + 1
        return np.stack([np.r_[0, cuts], np.r_[cuts, len(self)]], 1).astype(np.int64)

    @cached_property
    def run_starts(self) -> NDArray[np.int64]:
        """(segments,): the first row of the run that each segment is in."""
        return np.repeat(self.runs[:, 0], self.runs[:, 1] - self.runs[:, 0])

    @cached_property
    def run_ends(self) -> NDArray[np.int64]:
        """(segments,): the row after the last of the run that each segment is in."""
        lengths = self.runs[:, 1] - self.runs[:, 0]
        return np.repeat(self.runs[:, 1], lengths)

    def of(self, chosen: NDArray[np.bool_]) -> Replay:
        """Only these segments. Raises `ProfileError` where none is left."""
        if not chosen.any():
            raise ProfileError("no segment of the profile is for this: see the splits in the clip index")
        known = replace(self.known, bytes=self.known.bytes[chosen], miou=self.known.miou[chosen])
        whole = ("ladder", "seconds", "known", "advantage")
        parts = (part.name for part in fields(self) if part.name not in whole)
        return replace(self, known=known, **{part: getattr(self, part)[chosen] for part in parts})

    def of_drives(self, drives: Collection[str], chosen: bool = True) -> Replay:
        """Only the segments of these drives, or of all others. Raises `ProfileError`."""
        return self.of(np.isin(self.drives, sorted(drives)) == chosen)

    def with_extra_encode(self) -> Replay:
        """CASVA-C's: no embedding, but the size of the segment to come at the first setting (paper,
        4.1.3)."""
        size = np.log(self.megabytes[:, :1]).astype(np.float32)
        return replace(
            self, features=np.concatenate([self.features, size], 1), embeddings=self.embeddings[:, :, :0]
        )

    def to_learn_from(self) -> Replay:
        """Accuracies on familiar drives as they would be elsewhere."""
        miou = np.clip(self.known.miou - self.familiar[:, None] * self.advantage, 0.0, 1.0)
        return replace(self, known=replace(self.known, miou=miou))

    def with_embeddings(self, embeddings: NDArray[np.floating]) -> Replay:
        return replace(self, embeddings=embeddings)


def load_replay(
    folder: Path,
    index: ClipIndex | None,
    bundle: Bundle,
    timing: SegmentTiming = TIMINGS[0],
) -> Replay:
    """Everything that was recorded of a bundle's family, without embeddings.

    Without an index every clip is a drive of its own. Raises `ProfileError`.
    """
    paths = outcome_files(folder, str(timing), bundle.family)
    origin = read_origin(paths[0], OutcomesOrigin)
    if index is not None:
        paths = [path for path in paths if path.parent.name in index]
        if not paths:
            raise ProfileError(f"{folder} holds outcomes of no clip that is in the index: give its own index")
    tables = [read_row(path, origin) for path in paths]
    bytes_ = np.array([table["bytes"][0].as_py() for table in tables], np.int64)
    miou = np.array([table["miou"][0].as_py() for table in tables], np.float64)
    known = Known.of(bytes_, miou, np.array(bundle.costs), timing.seconds)
    clips = np.array([path.parent.name for path in paths])
    times = np.array([int(path.stem) for path in paths], np.int64)
    estimated, features = _estimates(folder, bundle, timing, clips, times, bytes_)
    return Replay(
        ladder=bundle.ladder,
        seconds=timing.seconds,
        clips=clips,
        drives=clips if index is None else np.array([index[str(clip)].drive for clip in clips]),
        kinds=np.array(["real" if index is None else index[str(clip)].kind for clip in clips]),
        times=times,
        known=known,
        first_frame=np.stack([_frame(table, 0) for table in tables]),
        last_frame=np.stack([_frame(table, -1) for table in tables]),
        estimated=estimated,
        features=features,
        embeddings=np.zeros((len(paths), len(bundle.ladder), 0), np.float16),
        predicted=np.zeros((len(paths), 0), np.float16),
        advantage=np.zeros(len(bundle.ladder)),
        familiar=np.array([index is not None and index[str(clip)].split == "train" for clip in clips]),
    )


def _frame(table: pa.Table, number: int) -> Floats:
    """(configurations,) mIoU of one of the frames that were measured."""
    configurations, _, classes = table["shape"][0].as_py()

    def counts(name: str, shared: bool) -> NDArray[np.int32]:
        values = np.asarray(table[name].chunk(0).values, np.int32)
        return values.reshape(1 if shared else configurations, -1, classes)[:, number]

    return frame_miou(Overlap(counts("reference", True), counts("predicted", False), counts("shared", False)))


def _estimates(
    folder: Path,
    bundle: Bundle,
    timing: SegmentTiming,
    clips: Names,
    times: NDArray[np.int64],
    bytes_: NDArray[np.int64],
) -> tuple[Floats, NDArray[np.float32]]:
    """Bytes (segments, settings) as the camera's own estimator gives them, and its features.

    After each segment it is told one true size, at a setting drawn uniformly, because the policy that will
    choose is not known yet.
    """
    try:
        estimator = BitrateEstimator.of(bundle, timing)
    except BundleError:
        return sizes_before(clips, times, bytes_), np.zeros((len(clips), 0), np.float32)
    rng, origin = np.random.default_rng(0), SizesOrigin.of(bundle)
    estimated, features = [], []
    for row, (clip, time) in enumerate(zip(clips, times, strict=True)):
        if row and (clips[row - 1], times[row - 1] + 1) != (clip, time):
            estimator = BitrateEstimator.of(bundle, timing)
        luma = read_sizes(sizes_path(folder, str(timing), str(clip), int(time)), origin).luma
        estimate = estimator.estimate_luma(luma)
        setting = int(rng.integers(bytes_.shape[1]))
        estimator.observe(setting, int(bytes_[row, setting]))
        estimated.append(estimate.bytes)
        features.append(estimate.features)
    return np.stack(estimated), np.stack(features)


def sizes_before(clips: Names, times: NDArray[np.int64], bytes_: NDArray[np.int64]) -> Floats:
    """(segments, settings): what stands in where a bundle has no estimator. The true base size of the segment
    before, times the mean ratios of the other clips; where there is none, those clips' mean base size."""
    estimated = np.empty(bytes_.shape)
    for clip in np.unique(clips):
        own = clips == clip
        others = bytes_[~own] if (~own).any() else bytes_
        ratios = (others / others[:, :1]).mean(0)
        rows = np.flatnonzero(own)
        base = np.r_[others[:, 0].mean(), bytes_[rows[:-1], 0]]
        gap = np.r_[False, times[rows[1:]] != times[rows[:-1]] + 1]
        estimated[rows] = np.where(gap, others[:, 0].mean(), base)[:, None] * ratios
    return estimated
