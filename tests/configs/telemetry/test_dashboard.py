"""The Grafana dashboard: Grafana knows every word of it, and Prometheus has everything that it asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from serving.telemetry.catalogue import METRICS

FOLDER = Path(__file__).parents[3] / "configs" / "telemetry"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}


def foreign(given: Any, understood: Any, at: str = "") -> list[str]:
    """Where something that was given is not understood, or as something else."""
    if isinstance(given, dict) and isinstance(understood, dict):
        return [
            place
            for name, value in given.items()
            for place in foreign(value, understood.get(name, ...), f"{at}/{name}")
        ]
    if isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        pairs = enumerate(zip(given, understood, strict=True))
        return [place for i, (a, b) in pairs for place in foreign(a, b, f"{at}/{i}")]
    return [] if given == understood else [at]


def test_grafana_understands_every_word_of_it() -> None:
    register_default_plugins()
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    assert foreign(DASHBOARD, understood) == []
    misspelt = json.loads(json.dumps(DASHBOARD).replace('"gridPos"', '"gridPosition"'))
    assert foreign(misspelt, json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt))))


def test_panels_have_names_and_places_of_their_own() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def told() -> set[str]:
    """Names that can be asked for."""
    names = set(RECORDED)
    for metric in METRICS:
        ends = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        names |= {metric.exported + end for end in ends}
    return names


def test_it_asks_for_nothing_that_is_not_told_and_shows_every_metric() -> None:
    asked = set(re.findall(r"(?:ray_penance_|tenant:penance_)\w+(?::\w+)?", " ".join(EXPRESSIONS)))
    assert asked <= told()
    of_rules = json.dumps(RULES)
    for metric in METRICS:
        assert metric.exported in " ".join(EXPRESSIONS), f"{metric.name} is on no panel"
    assert set(re.findall(r"ray_penance_\w+", of_rules)) <= told()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
