"""How the page is served: under a strict policy, cached by content, and as its source has it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from load_tests.interface import served
from serving.ingress.routes.page import BUILT
from serving.state.embedded import EmbeddedServer
from tests.conftest import REPOSITORY

MOST_BYTES = 250_000


@pytest.fixture(scope="module")
def http(server: EmbeddedServer) -> Iterator[httpx.Client]:
    with served(server.url) as url, httpx.Client(base_url=url) as client:
        yield client


def test_it_runs_nothing_that_is_not_its_own(http: httpx.Client) -> None:
    answer = http.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"https?://|<script>|style=", answer.text)


def test_the_page_is_asked_for_anew_and_its_files_are_kept(http: httpx.Client) -> None:
    answer = http.get("/")
    assert answer.headers["cache-control"] == "no-cache"
    assert http.get("/", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    names = re.findall(r'"(/assets/[^"]+)"', answer.text)
    assert len(names) == 3
    for name in names:
        found = http.get(name)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]
    for name in ("nothing.js", "%2e%2e%2findex.html", "..%2f..%2fapp.py"):
        assert http.get(f"/assets/{name}").status_code == 404


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in BUILT.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node and npm, which are not installed")
def test_the_build_is_that_of_the_source(tmp_path: Path) -> None:
    source = tmp_path / "dashboard"
    shutil.copytree(REPOSITORY / "dashboard", source, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=source, check=True, capture_output=True)
    subprocess.run(["npm", "run", "build"], cwd=source, check=True, capture_output=True)
    made = tmp_path / "serving" / "dashboard"
    names = sorted(path.relative_to(BUILT) for path in BUILT.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    for name in names:
        assert (made / name).read_bytes() == (BUILT / name).read_bytes(), name
