"""Prometheus reads the configuration, and the alerts fire when they should and no sooner."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "configs" / "telemetry"
ALERTS = Path(__file__).with_name("alerts.yml")

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)"
)


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_its_rules_are_read() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    path = tmp_path / "alerts.yml"
    text = ALERTS.read_text(encoding="utf-8")
    path.write_text(text.replace("RULES", str(FOLDER / "rules.yml")), encoding="utf-8")
    promtool("test", "rules", path)
