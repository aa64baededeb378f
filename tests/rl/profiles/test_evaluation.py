"""`penance-evaluate family` from a folder of videos to tables, file and pictures, with a tiny family."""

from __future__ import annotations

import json
import re
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
    file, pictures, page = tmp_path / "family.json", tmp_path / "figures", tmp_path / "docs" / "family.md"
    page.parent.mkdir()
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(clips), "--segments", "1"]
    command += ["--frame-stride", "2", "--json", str(file), "--figures", str(pictures)]
    command += ["--page", str(page)]
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
    text = page.read_text()
    assert "penance-evaluate family --clips CLIPS --segments 1 --frame-stride 2" in text
    shown = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(shown) == 3 + len(report["clips"])
    assert all((page.parent / link).exists() for link in shown)
    for heading, rows in (("The ladder", len(report["ladder"]) // 2), ("By clip", len(report["clips"]))):
        section = text.partition(f"## {heading}")[2].partition("\n## ")[0]
        assert section.count("\n| ") == 2 + rows
    assert f"Optimal uses {report['optimal']['configurations']} of 4 configurations" in text


def test_a_folder_without_videos_is_refused_in_one_line(tmp_path: Path, bundle: Bundle) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    command = ["family", "--bundle", str(bundle.directory), "--clips", str(empty)]
    result = CliRunner().invoke(evaluate, command, env={"PENANCE_DATA": None})
    assert result.exit_code == 2
    assert "no video" in " ".join(result.output.replace("│", " ").split())  # however the box breaks lines
