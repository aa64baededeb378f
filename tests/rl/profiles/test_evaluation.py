"""`penance-evaluate family` from a folder of videos to tables, file and pictures, with a tiny family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from configs.bundle import Bundle
from rl.cli import evaluate
from rl.profiles.choice import BANDWIDTHS


def test_one_command_measures_a_folder_of_videos(
    tmp_path: Path, bundle: Bundle, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl.vss.evaluate.WARM_UPS", 0)
    monkeypatch.setattr("rl.vss.evaluate.REPEATS", 1)
    file, pictures = tmp_path / "family.json", tmp_path / "figures"
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(clips), "--segments", "1"]
    command += ["--frame-stride", "2", "--json", str(file), "--figures", str(pictures)]
    result = CliRunner().invoke(evaluate, command, env={"PENANCE_DATA": None})
    assert result.exit_code == 0, result.output
    assert "Optimal uses" in result.output
    report = json.loads(file.read_text())
    assert report["bundle"] == bundle.id
    assert report["camvid_miou"] == [None, None]
    assert len(report["gflops_720p"]) == len(report["ms_frame"]) == 2
    assert [(row["scale"], row["qp"], row["variant"]) for row in report["ladder"]] == [
        (1.0, 24, 0),
        (1.0, 24, 1),
        (0.5, 24, 0),
        (0.5, 24, 1),
    ]
    assert report["ladder"][0]["agreement"] == 1
    assert report["optimal"]["configurations"] >= 1
    assert 0 <= report["best_static_failure"] <= 1
    assert len(report["bandwidths"]) == len(BANDWIDTHS)
    assert report["clips"][0]["native_size"] == [128, 72]
    for name in ("ladder.png", "pareto.png", "classes.png", "noise.jpg"):
        assert Image.open(pictures / name).size[0] > 200


def test_a_folder_without_videos_is_refused_in_one_line(tmp_path: Path, bundle: Bundle) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(empty)]
    result = CliRunner().invoke(evaluate, command, env={"PENANCE_DATA": None})
    assert result.exit_code == 2
    assert "no video" in " ".join(result.output.replace("│", " ").split())  # however the box breaks lines
