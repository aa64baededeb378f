"""MkDocs' hooks: pages that are generated join those that are written, and links to files of the repository
lead to pages of their own."""

from __future__ import annotations

import json
from functools import cache

from generate.commands import command_page, programs
from generate.formats import formats_page
from generate.interface import interface_page, openapi_document
from generate.settings import environment_page, metrics_page, serving_page
from generate.sources import (
    README,
    README_PAGE,
    REPOSITORY,
    linked_files,
    page_of,
    relinked,
    source_page,
    with_named_pages_linked,
)
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_origins: dict[str, str] = {}  # pages of the site that are files of the repository elsewhere


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the reference, the README, and a page for each file that any page links to."""
    for name, content in _reference().items():
        files.append(File.generated(config, name, content=content))
    readme = (REPOSITORY / README).read_text(encoding="utf-8")
    files.append(File.generated(config, README_PAGE, content=readme))
    _origins[README_PAGE] = README
    pages = {
        f"docs/{f.src_uri}": f.content_string for f in files.documentation_pages() if f.src_uri != README_PAGE
    }
    for path in sorted(linked_files({**pages, README: readme})):
        page = page_of(path)
        files.append(File.generated(config, page, content=source_page(path)))
        _origins[page] = path
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Has links to files of the repository lead to their pages."""
    uri = page.file.src_uri
    return relinked(markdown, _origins.get(uri, f"docs/{uri}"), uri)


@cache
def _reference() -> dict[str, str]:
    """All that follows from the code, by the page's place."""
    document = openapi_document()
    pages = {
        f"reference/commands/{name}.md": command_page(name, command) for name, command in programs().items()
    }
    pages |= {
        "reference/http.md": interface_page(document),
        "reference/settings.md": environment_page(),
        "reference/serving.md": serving_page(),
        "reference/metrics.md": metrics_page(),
        "reference/formats.md": formats_page(),
    }
    pages = {page: with_named_pages_linked(text, page) for page, text in pages.items()}
    return {**pages, "reference/openapi.json": json.dumps(document, indent=1, ensure_ascii=False)}
