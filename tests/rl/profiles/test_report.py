"""The report, its tables and its figures, from made-up outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from clients.codec import CodecFlags
from clients.protocol import SegmentFormat
from configs.ladder import Ladder, VariantSpec
from rl.profiles.clips import Clip
from rl.profiles.figures import draw_figures, pareto_front
from rl.profiles.outcomes import Profile, SegmentOutcomes
from rl.profiles.pseudo_labels import LabelCounts
from rl.profiles.report import FamilyReport, variants_report, with_profile
from rl.profiles.tables import tables
from rl.vss.evaluate import VariantFigures
from serving.miou import Overlap

LADDER = Ladder(
    scales=(1.0, 0.5),
    qps=(20, 30),
    variants=(VariantSpec(name="large", sparsity=0.0), VariantSpec(name="small", sparsity=0.5)),
)
CLASSES = ("road", "sky", "unicorn")
COSTS = (1.0, 0.5, 1.0, 0.5, 0.25, 0.125, 0.25, 0.125)
PIXELS = 1000


def outcomes(clip: str, agreement: list[float]) -> SegmentOutcomes:
    """Two classes of half a frame each; of each, this share of pixels is right."""
    held = np.array([[[PIXELS // 2, PIXELS // 2, 0]]])
    shared = np.round(held * np.array(agreement)[:, None, None]).astype(np.int64)
    return SegmentOutcomes(
        clip, 0, np.array([900, 500, 300, 100]) * 1000, Overlap(held, held.repeat(len(COSTS), 0), shared)
    )


@pytest.fixture(scope="module")
def report() -> FamilyReport:
    profile = Profile(
        "made-up-1",
        LADDER,
        CLASSES,
        COSTS,
        CodecFlags(),
        (
            outcomes("easy", [1.0, 0.9, 0.95, 0.9, 0.9, 0.85, 0.85, 0.8]),
            outcomes("hard", [1.0, 0.6, 0.9, 0.5, 0.5, 0.4, 0.4, 0.3]),
        ),
    )
    clips = [Clip(Path(f"{n}.mp4"), SegmentFormat(), (640, 360), 29.97, (0,)) for n in ("easy", "hard")]
    counts = np.array([[10, 0, 0, 0], [10, 10, 0, 0], [0, 0, 0, 0]])
    labels: LabelCounts = {"hard": np.stack([counts, counts])}
    variants = [
        VariantFigures(
            name=v.name,
            sparsity=v.sparsity,
            parameters=9,
            gflops=8.0 * (1 - v.sparsity),
            camvid_miou=None,
            streets_miou=None,
            milliseconds=1.0,
        )
        for v in LADDER.variants
    ]
    return with_profile(variants_report("made-up-1", "a CPU", variants, labels), profile, clips, labels)


def test_the_report_says_what_optimal_and_one_configuration_for_all_do(report: FamilyReport) -> None:
    assert report.ladder is not None
    assert report.optimal is not None
    assert len(report.ladder) == len(COSTS)
    assert report.ladder[0].agreement == 1
    # easy: (0.5, 20, small) at every bandwidth; hard: (1, 30, large), which needs 0.5 MB/s
    assert report.optimal.configurations == 3
    assert report.optimal.failure == pytest.approx(0.1)
    assert report.bandwidths is not None
    assert [row.failure for row in report.bandwidths] == [0.5, 0, 0, 0, 0]
    assert report.best_static_failure == pytest.approx(0.5)


def test_pseudo_labels_are_reported_by_clip_and_class(report: FamilyReport) -> None:
    assert report.clips is not None
    assert report.classes is not None
    assert report.clips[0].pseudo_labels is None
    assert report.clips[1].pseudo_labels == pytest.approx((0.5, 0.5))
    assert [row.pseudo_labels for row in report.classes] == [(0.5, 0.5), (0.5, 0.5), (None, None)]
    assert [row.streets_miou for row in report.variants] == [0.5, 0.5]
    assert report.classes[2].agreement == (None,) * len(COSTS)


def test_the_file_holds_everything(report: FamilyReport) -> None:
    assert FamilyReport.model_validate_json(report.model_dump_json()) == report


def test_tables_fit_a_narrow_terminal_and_one_without_clips(report: FamilyReport) -> None:
    for shown in (report, variants_report("made-up-1", "a CPU", report.variants, {})):
        console = Console(width=90, record=True, file=None, quiet=False)
        with console.capture() as captured:
            console.print(tables(shown))
        assert "…" not in captured.get()
        assert "large" in captured.get()


def test_figures_are_drawn_and_small(report: FamilyReport, tmp_path: Path) -> None:
    for path in draw_figures(report, tmp_path / "figures"):
        assert path.stat().st_size < 250_000
        assert min(Image.open(path).size) > 200


def test_the_front_holds_what_nothing_beats() -> None:
    cost, value = np.array([1.0, 1, 2, 3, 4]), np.array([0.1, 0.2, 0.2, 0.5, 0.4])
    assert pareto_front(cost, value) == [1, 3]
