"""A scenario played against the application, by the command that people type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from load_tests.application import RunningApplication
from load_tests.cameras.report import ScenarioReport

SCENARIO = """
about: A handful of small cameras on links of their own, of which some are cut for a moment.
seconds: 8
segment: {seconds: 1, fps: 3, width: 160, height: 96}
groups:
  - {tenant: steady, cameras: 3, policy: "fixed:0.5/30/4"}
  - {tenant: late, cameras: 2, policy: "fixed:0.5/30/4", active: [[0, 0], [4, 0], [4, 1]]}
  - {tenant: cut, cameras: 1, policy: "fixed:0.5/30/4", links: {bandwidth: [0.5, 0.5], up_s: 3, down_s: 3}}
"""


@pytest.fixture(scope="module")
def played(application: RunningApplication, tmp_path_factory: pytest.TempPathFactory) -> ScenarioReport:
    folder = tmp_path_factory.mktemp("scenario")
    (folder / "scenario.yaml").write_text(SCENARIO)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "load_tests.cameras", str(folder / "scenario.yaml")),
            *("--server", application.url, "--key", application.key, "--segments", "2"),
            *("--json", str(folder / "figures.json"), "--html", str(folder / "report.html")),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "steady" in (folder / "report.html").read_text(encoding="utf-8")
    return ScenarioReport.model_validate_json((folder / "figures.json").read_text(encoding="utf-8"))


def test_cameras_send_when_the_scenario_says(played: ScenarioReport) -> None:
    steady, late, cut = (played.tenants[name] for name in ("steady", "late", "cut"))
    assert (steady.cameras, late.cameras, cut.cameras) == (3, 2, 1)
    assert steady.due == 3 * 8
    assert 2 * 3 <= late.due <= 2 * 4
    assert cut.due == 8


def test_what_is_due_is_answered_or_dropped(played: ScenarioReport) -> None:
    for figures in played.tenants.values():
        assert figures.due == figures.answered + sum(figures.dropped.values())
        assert figures.failed == {}
    steady = played.tenants["steady"]
    assert steady.latency_ms is not None
    assert steady.answered > 0
    assert set(steady.stages_ms) >= {"queue", "decode", "infer", "embed"}


def test_a_link_that_carries_nothing_drops_segments(played: ScenarioReport) -> None:
    assert played.tenants["cut"].dropped


def test_the_server_counts_what_the_cameras_saw(
    played: ScenarioReport, application: RunningApplication, http: httpx.Client
) -> None:
    """The tenant's ledger grew by what was answered, and by nothing else of these cameras."""
    headers = {"authorization": f"Bearer {application.key}"}
    cameras, after = [], ""
    while True:
        page = http.get("/v1/clients", params={"after": after} if after else {}, headers=headers).json()
        cameras += page["cameras"]
        if not (after := page["next"] or ""):
            break
    ours = [camera["id"] for camera in cameras if camera["name"].startswith(f"{played.run}-")]
    states = [http.get(f"/v1/clients/{camera}", headers=headers).json() for camera in ours]
    assert len(states) == sum(figures.cameras for figures in played.tenants.values())
    assert sum(state["segments"] for state in states) == sum(f.answered for f in played.tenants.values())
