"""Links from pages to files of the repository. The site is complete in itself, so each file that a page
links to becomes a page of the site, and the link leads there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

REPOSITORY = Path(__file__).parents[2]
README, README_PAGE = "README.md", "readme.md"
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#]+)")
_NAMED = re.compile(r"(?<![\w./`])docs/(?P<page>[\w-]+)\.md")
_LANGUAGES = {".yml": "yaml", ".yaml": "yaml", ".py": "python", ".json": "json", ".lua": "lua"}


def resolved(origin: str, target: str) -> str | None:
    """The file or folder of the repository that a link means, as a path from its root; None where it means
    none. `origin` is the path of the file that has the link."""
    if "://" in target or target.startswith(("mailto:", "/")):
        return None
    path = os.path.normpath(PurePosixPath(origin).parent / target)
    return None if path.startswith("..") or not (REPOSITORY / path).exists() else path


def page_of(path: str) -> str:
    """The page (or picture) of the site that stands for a path of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == README:
        return README_PAGE
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def links(markdown: str) -> Iterator[str]:
    """Targets of all links outside blocks of code."""
    yield from (match["target"] for match in _LINK.finditer(_FENCE.sub("", markdown)))


def relinked(markdown: str, origin: str, page: str) -> str:
    """The text of `origin`, to stand at `page`: links to files of the repository lead to their pages."""

    def moved(match: re.Match[str]) -> str:
        path = resolved(origin, match["target"])
        if path is None:
            return match["target"]
        return os.path.relpath(page_of(path), PurePosixPath(page).parent)

    return _outside_fences(markdown, lambda text: _LINK.sub(moved, text))


def with_named_pages_linked(markdown: str, page: str) -> str:
    """Pages that texts of the code name (`docs/promise.md`) as links."""

    def linked(match: re.Match[str]) -> str:
        return f"[{match['page']}]({os.path.relpath(match['page'] + '.md', PurePosixPath(page).parent)})"

    return _outside_fences(markdown, lambda text: _NAMED.sub(linked, text))


def linked_files(pages: dict[str, str]) -> set[str]:
    """Paths outside `docs/` that pages (origin to text) link to, also by way of other such paths."""
    found: set[str] = set()
    waiting = dict(pages)
    while waiting:
        origin, text = waiting.popitem()
        for target in links(text):
            path = resolved(origin, target)
            if path is None or path in found or path == README or path.startswith("docs/"):
                continue
            found.add(path)
            if path.endswith(".md"):
                waiting[path] = (REPOSITORY / path).read_text(encoding="utf-8")
    return found


def source_page(path: str) -> str:
    """A file of the repository as a page: Markdown as it is, anything else as a block of code, a folder as
    the list of its files."""
    place = REPOSITORY / path
    head = "---\nsearch: {exclude: true}\n---\n\n"
    if place.is_dir():
        files = sorted(
            file.relative_to(place).as_posix()
            for file in place.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        )
        return f"{head}# {path}\n\nIn this folder of the repository:\n\n{fenced(chr(10).join(files), 'text')}"
    text = place.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return head + text
    language = _LANGUAGES.get(place.suffix, "dockerfile" if place.name == "Dockerfile" else "text")
    return f"{head}# {path}\n\n{fenced(text, language)}"


def fenced(text: str, language: str) -> str:
    """A block of code, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}\n"


def _outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for block in _FENCE.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])
