"""Imports run one way, rl -> serving -> clients -> configs, and are light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FLOORS = ("configs", "clients", "serving", "rl")
NEVER_ON_A_CAMERA = {"torch", "ray", "fastapi", "redis"}


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_one_above_it(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :]) | {"load_tests", "tests"}
    files = sorted((REPOSITORY / floor).rglob("*.py"))
    assert files
    assert {str(f.relative_to(REPOSITORY)): found for f in files if (found := imported(f) & above)} == {}


@pytest.mark.parametrize("floor", ["configs", "clients"])
def test_what_runs_on_a_camera_imports_nothing_heavy(floor: str) -> None:
    files = sorted((REPOSITORY / floor).rglob("*.py"))
    assert {f.name: found for f in files if (found := imported(f) & NEVER_ON_A_CAMERA)} == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("clients", {"torch", "ray", "onnxruntime", "av"}),
        ("clients.gateway.site", {"onnxruntime", "av", "httpx"}),
        ("serving", {"torch", "ray", "fastapi"}),
        ("serving.ingress.replica", {"torch", "openvino", "onnxruntime"}),
        ("serving.deployments.database", {"torch"}),
        ("rl", {"torch"}),
    ],
)
def test_importing_a_package_loads_nothing_heavy(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(loaded.stdout.split()) & heavy == set()
