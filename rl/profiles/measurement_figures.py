"""Draws the measurements as PNG, each with its numbers beside it as CSV (`penance-evaluate measurements`)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.bundle import Bundle
from configs.timing import TIMINGS, SegmentTiming
from rl.profiles import measurements
from rl.profiles.figures import MARKERS, STYLE
from rl.profiles.measurements import Columns, Recorded, confidence_and_accuracy
from rl.profiles.sizes import SegmentSizes
from rl.profiles.store import ProfileError, SizesOrigin, stored_sizes
from rl.profiles.store_outcomes import stored_outcomes

SIZE = (7.2, 4.2)  # inches


def draw_measurements(profile: Path, bundle: Bundle, folder: Path) -> list[Path]:
    """Every figure that the profile has numbers for. Raises `ProfileError`."""
    timing = TIMINGS[0]
    outcomes = tuple(stored_outcomes(profile, str(timing), bundle.family))
    with_logits = stored_outcomes(profile, str(timing), bundle.family, with_logits=True)  # one at a time
    recorded = Recorded(bundle.ladder, np.array(bundle.costs), timing.seconds, outcomes)
    sizes = {
        kind: found
        for kind in (timing, TIMINGS[2])
        if (found := _sizes(profile, kind, SizesOrigin.of(bundle)))
    }
    paths = [
        _lines(folder / "fig01-accuracy", measurements.accuracy_over_time(recorded), "mIoU"),
        _lines(folder / "fig02-bitrate", measurements.bitrate_over_time(recorded), "kB/s"),
        _efficiency(folder / "fig04-efficiency", measurements.bitrate_efficiency(recorded)),
        _lines(folder / "fig05-cost", measurements.cost_by_resolution(recorded), "cost"),
        _frame_types(folder / "fig08-frame-types", measurements.frame_types(sizes[timing])),
        _by_variant(folder / "fig11-confidence", confidence_and_accuracy(bundle.ladder, with_logits)),
    ]
    if columns := measurements.truth_and_agreement(recorded):
        paths.append(_by_variant(folder / "true-labels", columns))
    for period in measurements.PERIODS:
        columns = measurements.stale_profile_error(recorded, period)
        if len(columns["share"]):
            paths.append(_lines(folder / f"fig03-stale-{period:g}s", columns, "share of segments"))
    for kind, found in sizes.items():
        columns = measurements.motion_range(found)
        paths.append(_lines(folder / f"fig09-motion-{kind}", columns, "share of pixels"))
    return paths


def _sizes(profile: Path, timing: SegmentTiming, origin: SizesOrigin) -> list[SegmentSizes]:
    """Nothing where the timing was not recorded."""
    if not (profile / "sizes" / str(timing)).is_dir():
        if timing == TIMINGS[0]:
            raise ProfileError(f"{profile} holds no sizes for {timing}: record them with penance-profile")
        return []
    return list(stored_sizes(profile, str(timing), origin))


@contextmanager
def _drawn(path: Path, columns: Columns) -> Iterator[Axes]:
    """Axes of `path`.png; the numbers go to `path`.csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        yield figure.subplots()
        figure.savefig(path.with_suffix(".png"))


def _lines(path: Path, columns: Columns, label: str) -> Path:
    """Every column against the first."""
    (name, x), *others = columns.items()
    with _drawn(path, columns) as axes:
        for (title, y), marker in zip(others, _markers(others), strict=True):
            axes.plot(x, y, marker=marker, markersize=3, linewidth=1, label=title)
        axes.set(xlabel=name, ylabel=label)
        if len(others) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7)
    return path.with_suffix(".png")


def _efficiency(path: Path, columns: Columns) -> Path:
    with _drawn(path, columns) as axes:
        held = {name: values[~np.isnan(values.astype(float))] for name, values in columns.items()}
        axes.boxplot(list(held.values()), showfliers=False)
        axes.set_xticks(range(1, len(held) + 1), [f"{name} ({len(v)})" for name, v in held.items()])
        axes.set(ylabel="share of bytes saved a point of mIoU lost", yscale="log")
    return path.with_suffix(".png")


def _frame_types(path: Path, columns: Columns) -> Path:
    below = np.zeros(len(columns["position"]))
    with _drawn(path, columns) as axes:
        for kind, hatch in zip("IPB", ("", "//", ".."), strict=True):
            share = columns[kind].astype(float)
            axes.bar(columns["position"], share, bottom=below, label=kind, hatch=hatch)
            below += share
        axes.set(xlabel="position of the frame, as shown", ylabel="share of segments")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return path.with_suffix(".png")


def _by_variant(path: Path, columns: Columns) -> Path:
    """The last column against the one before it, a marker for each variant."""
    across, up = list(columns)[-2:]
    with _drawn(path, columns) as axes:
        for variant in np.unique(columns["variant"].astype(int)):
            own = columns["variant"] == variant
            marker = MARKERS[variant % len(MARKERS)]
            axes.plot(
                columns[across][own], columns[up][own], marker, markersize=2, label=f"variant {variant}"
            )
        axes.set(xlabel=across, ylabel=up)
        axes.set_title(f"correlation {measurements.correlation(columns):.2f}")
        axes.legend()
    return path.with_suffix(".png")


def _markers(lines: Sequence[object]) -> list[str]:
    return [MARKERS[index % len(MARKERS)] for index in range(len(lines))]
