"""The site builds without a warning, holds together, and loads nothing from anywhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from generate.sources import REPOSITORY

pytestmark = pytest.mark.slow

LOADED = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}


class References(HTMLParser):
    """What a page loads by itself, what it links to, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if (address := found.get(LOADED.get(tag, ""))) is not None:
            self.loaded.append(address)
        if tag == "a" and (address := found.get("href")) is not None:
            self.linked.append(address)
        self.anchors |= {name for key in ("id", "name") if (name := found.get(key))}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, References]:
    found = {path: References(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(found) > 40
    return found


def test_every_link_leads_somewhere(pages: dict[Path, References]) -> None:
    assert [
        f"{page.parent.name}: {address}"
        for page, references in pages.items()
        for address in (*references.linked, *references.loaded)
        if not urlsplit(address).scheme and not _leads_somewhere(page, address, pages)
    ] == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, References]) -> None:
    loaded = {address for references in pages.values() for address in references.loaded}
    assert {address for address in loaded if urlsplit(address).netloc} == set()
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert not any("url(http" in style or "@import" in style or "url(//" in style for style in styles)


def test_the_reference_is_whole(site: Path) -> None:
    assert "penance-camera [OPTIONS]" in _text(site, "reference/commands/penance-camera")
    assert "PENANCE_LABEL_MAPS_KEPT" in _text(site, "reference/settings")
    assert "ray_penance_segments_total" in _text(site, "reference/metrics")
    assert "urn:penance:problem:deadline" in _text(site, "reference/http")
    assert str(Path.home()) not in _text(site, "reference/settings")
    assert not (site / "hooks.py").exists()
    assert not (site / "generate").exists()


def _leads_somewhere(page: Path, address: str, pages: dict[Path, References]) -> bool:
    parts = urlsplit(address)
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].anchors


def _text(site: Path, page: str) -> str:
    class Words(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    words = Words()
    words.feed((site / page / "index.html").read_text(encoding="utf-8"))
    return words.text
