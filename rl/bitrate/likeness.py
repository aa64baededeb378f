"""How like real video generated scenes are, in what a bitrate estimator learns from: sizes, the ratios
between settings, and how sizes go on from segment to segment.

Real clips count from 1280x720 on: what was filmed smaller and is brought to that size lacks the detail that
decides about bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from clients.calibration import Floats
from configs.ladder import CompressionSetting
from rl.bitrate.data import SizedSegments
from rl.bitrate.errors import Row
from rl.profiles.index import ClipIndex

PERCENTILES = (10, 50, 90)
FULL_WIDTH, FULL_HEIGHT = 1280, 720
NEAR = 0.25


class LikenessRow(Row):
    """One statistic of both kinds."""

    statistic: str
    real: float
    generated: float

    @property
    def apart(self) -> float:
        """Relative difference of the generated from the real."""
        return self.generated / self.real - 1


def likeness(
    real: SizedSegments, generated: SizedSegments, settings: Sequence[CompressionSetting]
) -> list[LikenessRow]:
    """Percentiles of bytes at the best setting, of their logarithms and of every setting's ratio to it, and
    the correlation of sizes with those of the segments before. Raises `ValueError` where either has no
    segments that follow one another."""
    sizes = [data.bytes for data in (real, generated)]
    best, other = (each[:, 0] for each in sizes)
    pairs: list[tuple[str, Floats, Floats]] = [
        ("kB at the best setting", best / 1e3, other / 1e3),
        ("logarithm of its bytes", np.log(best), np.log(other)),
    ]
    for number, setting in enumerate(settings[1:], 1):
        first, second = (each[:, number] / each[:, 0] for each in sizes)
        pairs.append((f"ratio at {setting.scale:g} / {setting.qp}", first, second))
    rows = [
        LikenessRow(
            statistic=f"{name}, P{percentile}",
            real=float(np.percentile(first, percentile)),
            generated=float(np.percentile(second, percentile)),
        )
        for name, first, second in pairs
        for percentile in PERCENTILES
    ]
    rows.append(
        LikenessRow(
            statistic="lag-1 autocorrelation of sizes",
            real=autocorrelation(real),
            generated=autocorrelation(generated),
        )
    )
    return rows


def autocorrelation(data: SizedSegments) -> float:
    """Correlation of a segment's bytes at the best setting with its predecessor's. Raises `ValueError`."""
    following = np.flatnonzero(data.follows())
    if len(following) < 2:
        raise ValueError("fewer than two segments follow another one of their clip: record more of each")
    sizes = data.bytes[:, 0]
    return float(np.corrcoef(sizes[following - 1], sizes[following])[0, 1])


def full_size_clips(index: ClipIndex) -> set[str]:
    """Names of the clips that were filmed at 1280x720 or more, or generated."""
    return {
        clip.name
        for clip in index.of_split("train", "val", "test")
        if clip.width >= FULL_WIDTH and clip.height >= FULL_HEIGHT
    }


def likeness_table(rows: Sequence[LikenessRow]) -> Table:
    table = Table(title="Generated scenes beside real 720p video", title_justify="left")
    table.add_column("")
    for heading in ("real", "generated", "apart"):
        table.add_column(heading, justify="right")
    for row in rows:
        mark = "" if abs(row.apart) <= NEAR else " !"
        table.add_row(row.statistic, f"{row.real:.3f}", f"{row.generated:.3f}", f"{row.apart:+.0%}{mark}")
    near = sum(abs(row.apart) <= NEAR for row in rows)
    table.caption = f"{near} of {len(rows)} within {NEAR:.0%}"
    return table
