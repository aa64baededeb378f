"""Recording a profile with Ray Data: whole, resumable, and refused when made with something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from configs.bundle import Bundle
from configs.timing import TIMINGS
from rl.cli import evaluate
from rl.profiles.index import ClipIndex, Drives, index_folder
from rl.profiles.recording import Recording, record
from rl.profiles.store import ProfileError, SizesOrigin, stored_sizes
from rl.profiles.store_outcomes import stored_outcomes

pytestmark = pytest.mark.slow
QUIET = Console(quiet=True)


@pytest.fixture
def index(clips: Path) -> ClipIndex:
    return index_folder(clips, Drives(), lambda line: None)


@pytest.fixture
def recording(bundle: Bundle, tmp_path: Path) -> Recording:
    labels = tmp_path / "labels"
    labels.mkdir()
    Image.fromarray(np.full((72, 128), 3, np.uint8)).save(labels / "noise_500.png")
    return Recording(bundle.directory, tmp_path / "profile", TIMINGS[0], 1, outcomes=True, labels=labels)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.arrow"))}


def test_a_broken_off_recording_goes_on_and_ends_alike(
    recording: Recording, index: ClipIndex, bundle: Bundle, tmp_path: Path
) -> None:
    assert record(recording, index, None, QUIET) == (2, 2)
    whole = contents(recording.out)
    assert len(whole) == 4
    second = next(path for path in recording.out.rglob("00001.arrow") if "outcomes" in path.parts)
    second.unlink()
    assert record(recording, index, None, QUIET) == (1, 2)
    assert contents(recording.out) == whole
    assert record(recording, index, None, QUIET) == (0, 2)

    outcomes = list(stored_outcomes(recording.out, "1s-15fps", bundle.family, with_logits=True))
    sizes = list(stored_sizes(recording.out, "1s-15fps", SizesOrigin.of(bundle)))
    for both in zip(outcomes, sizes, strict=True):
        np.testing.assert_array_equal(both[0].bytes, both[1].bytes)
    assert outcomes[0].miou()[0] > 0.9  # its reference is the same in float32
    assert len(outcomes[0].logits) == len(bundle.ladder)
    assert outcomes[0].truth is not None  # the label at half a second
    assert outcomes[1].truth is None
    with pytest.raises(ProfileError, match="another bundle or other flags"):
        record(Recording(bundle.directory, recording.out, TIMINGS[0], 2, outcomes=True), index, None, QUIET)

    figures = ["measurements", "--profile", str(recording.out), "--out", str(tmp_path / "figures")]
    result = CliRunner().invoke(evaluate, [*figures, "--bundle", str(bundle.directory)])
    assert result.exit_code == 0, result.output
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"fig01-accuracy", "fig08-frame-types", "fig09-motion-1s-15fps", "fig11-confidence"} <= names
    assert names == {path.stem for path in (tmp_path / "figures").glob("*.csv")}


def test_sizes_need_no_network(bundle: Bundle, index: ClipIndex, tmp_path: Path) -> None:
    recording = Recording(bundle.directory, tmp_path / "sizes", TIMINGS[0], 1, outcomes=False)
    assert record(recording, index, 1, QUIET) == (1, 1)
    assert not (tmp_path / "sizes" / "outcomes").exists()
