"""From videos to an estimator in a bundle and Table 1, with a tiny family and made-up streets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from clients.bitrate import BitrateEstimator
from clients.codec import encode_segment
from configs.bundle import Bundle, BundleError
from configs.ladder import CompressionSetting
from configs.timing import TIMINGS
from rl.bitrate.commands import train_bitrate, validate_bitrate
from rl.bitrate.export import add_to_bundle
from rl.bitrate.recipe import BitrateRecipe, EstimatorArchitecture, Passes
from rl.cli import evaluate
from rl.profiles.clips import open_clip, read_segments
from rl.profiles.index import ClipIndex, Drives, index_folder, write_index
from rl.profiles.sizes import encode_all, segment_sizes
from rl.profiles.store import SizesOrigin, sizes_path, write_sizes

RECIPE = BitrateRecipe(
    name="quick",
    architecture=EstimatorArchitecture(first=4, inner=4, second=4, hidden=4),
    passes=(Passes(epochs=1, learning_rate=(1e-3, 1e-4), crop=0.25),),
    head_epochs=5,
    batch=4,
)
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three drives of three seconds at two frames a second; one each to learn, calibrate and judge."""
    folder = tmp_path_factory.mktemp("videos")
    for number, split in enumerate(("train", "val", "test")):
        (folder / split).mkdir()
        rng = np.random.default_rng(number)
        blocks = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        frames = [np.roll(blocks, number + 3 * step, axis=1) for step in range(6)]
        body = encode_segment(frames, CompressionSetting(1.0, 20), 2)
        (folder / split / f"street{number}.mp4").write_bytes(body)
    return folder


@pytest.fixture
def index(videos: Path) -> ClipIndex:
    return index_folder(videos, Drives(), lambda line: None)


@pytest.fixture
def profile(index: ClipIndex, bundle: Bundle, tmp_path: Path) -> Path:
    origin = SizesOrigin.of(bundle)
    for clip in index.clips:
        for segment in read_segments(open_clip(Path(clip.file))):
            sizes = segment_sizes(segment, encode_all(segment, bundle.ladder.settings, origin.codec))
            write_sizes(
                sizes_path(tmp_path / "profile", str(TIMINGS[0]), clip.name, segment.index), origin, sizes
            )
    return tmp_path / "profile"


def test_an_estimator_joins_its_bundle_and_is_measured(
    profile: Path, index: ClipIndex, bundle: Bundle, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=r"no bitrate estimator for 1s-15fps .it has: none."):
        BitrateEstimator.of(bundle)
    figures = train_bitrate(profile, index, bundle, TIMINGS[0], RECIPE, tmp_path / "out", QUIET)
    assert list(figures) == ["real"]
    assert list(figures["real"].by_drive) == ["street2"]
    manifest = add_to_bundle(tmp_path / "out", bundle.directory)
    sealed = Bundle.load(bundle.directory)
    assert sealed.id == manifest.id != bundle.id
    assert sealed.family == bundle.family  # outcomes stay valid
    assert add_to_bundle(tmp_path / "out", bundle.directory).id == manifest.id  # in place of its like

    command = ["bitrate", "--clips", str(videos / "test"), "--bundle", str(bundle.directory)]
    result = CliRunner().invoke(evaluate, [*command, "--json", str(tmp_path / "table.json")])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "table.json").read_text())
    assert report["mean_error"] == pytest.approx(figures["real"].corrected.mean, rel=1e-3)
    assert report["ar1_mean_error"] > 0
    assert report["ar1_median_error"] > 0
    assert len(report["by_setting"]) == len(sealed.ladder.settings)
    assert report["by_clip"]["street2"]["segments"] == report["segments"] == 3
    assert set(report["kinds"]["real"]["following"]["all"]["known"]) == {"drawn", "base", "kept"}

    listed = tmp_path / "clips.tsv"
    generated = [clip.model_copy(update={"kind": "generated"}) for clip in index.clips]
    write_index(listed, ClipIndex(generated))
    result = CliRunner().invoke(
        evaluate, [*command, "--index", str(listed), "--json", str(tmp_path / "t.json")]
    )
    assert result.exit_code == 0, result.output
    assert list(json.loads((tmp_path / "t.json").read_text())["kinds"]) == ["generated"]

    result = CliRunner().invoke(evaluate, ["overhead", "--bundle", str(bundle.directory)])
    assert result.exit_code == 0, result.output
    assert "MFLOPs" in result.output


def test_an_estimator_for_other_flags_is_refused(
    profile: Path, index: ClipIndex, bundle: Bundle, tmp_path: Path
) -> None:
    train_bitrate(profile, index, bundle, TIMINGS[0], RECIPE, tmp_path / "out", QUIET)
    calibration = tmp_path / "out" / "1s-15fps" / "calibration.json"
    calibration.write_text(calibration.read_text().replace("veryfast", "slow"))
    with pytest.raises(BundleError, match=r"was made for .* train an estimator for this bundle"):
        add_to_bundle(tmp_path / "out", bundle.directory)


def test_folds_that_are_done_are_not_trained_again(
    profile: Path, index: ClipIndex, bundle: Bundle, tmp_path: Path
) -> None:
    arguments = (profile, index, bundle, TIMINGS[0], RECIPE, 3, range(3), tmp_path / "folds", QUIET)
    figures = validate_bitrate(*arguments)
    assert sorted(figures["real"].by_drive) == ["street0", "street1", "street2"]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").iterdir()}
    assert len(made) == 3
    assert validate_bitrate(*arguments) == figures
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").iterdir()}


def test_a_bundle_without_estimators_says_what_to_do(bundle: Bundle, videos: Path) -> None:
    command = ["bitrate", "--clips", str(videos / "test"), "--bundle", str(bundle.directory)]
    result = CliRunner().invoke(evaluate, command)
    assert result.exit_code == 1
    assert "train one with penance-train bitrate" in result.stderr
