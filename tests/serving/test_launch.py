"""`penance-server` starts Ray Serve with the flags that the image has too."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from typer.testing import CliRunner

from serving.launch import FLAGS, HAPROXY, app

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


class Replaced(Exception):
    """The process would be another program now."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that the process would have become."""
    seen: list[list[str]] = []

    def become(program: str, arguments: list[str]) -> None:
        seen.append([program, *arguments[1:]])
        raise Replaced

    monkeypatch.setattr(os, "execv", become)
    flags = {**FLAGS, **HAPROXY}
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k not in flags})
    return seen


@pytest.mark.parametrize("haproxy", [False, True])
def test_it_becomes_serve_with_all_flags_set(started: list[list[str]], haproxy: bool) -> None:
    result = CliRunner().invoke(app, ["--haproxy"] if haproxy else [])
    assert isinstance(result.exception, Replaced)
    ((program, *arguments),) = started
    assert Path(program).name == "serve"
    assert os.access(program, os.X_OK)
    assert arguments == ["run", "serving.app"]
    assert {name: os.environ[name] for name in FLAGS} == dict(FLAGS)
    assert ("RAY_SERVE_ENABLE_HA_PROXY" in os.environ) == haproxy


def test_what_the_environment_says_stays(started: list[list[str]]) -> None:
    os.environ["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"] = "0.2"
    CliRunner().invoke(app, [])
    assert os.environ["RAY_SERVE_CONTROL_LOOP_INTERVAL_S"] == "0.2"


def test_what_follows_is_given_to_serve(started: list[list[str]]) -> None:
    CliRunner().invoke(app, ["--route-prefix", "/video"])
    assert started[0][1:] == ["run", "--route-prefix", "/video", "serving.app"]


def test_the_image_has_the_same_flags() -> None:
    steps = DockerfileParser(path=str(DOCKERFILE)).structure
    pairs = [pair for step in steps if step["instruction"] == "ENV" for pair in shlex.split(step["value"])]
    image = dict(pair.split("=", 1) for pair in pairs)
    flags = {
        name: value
        for name, value in image.items()
        if name.startswith(("RAY_SERVE_", "GRPC_")) and "HOST" not in name
    }
    assert flags == {**FLAGS, **HAPROXY}
