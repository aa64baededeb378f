"""What pages tell people to type exists: programs, options, targets, variables, files."""

from __future__ import annotations

from pathlib import Path

import pytest
from generate.sources import REPOSITORY, links, resolved

from tests.docs.pages import (
    PAGES,
    all_lines,
    faults_of_inline,
    faults_of_line,
    faults_of_make,
    inline_code,
    shell_lines,
    unknown_variables,
)

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def test_command_lines_parse() -> None:
    lines = all_lines()
    assert sum("penance-" in line.text for line in lines) > 50
    assert {line: faults for line in lines if (faults := faults_of_line(line.text))} == {}


@by_page
def test_code_in_running_text_names_what_exists(page: Path) -> None:
    codes = list(inline_code(page.read_text(encoding="utf-8")))
    assert [fault for code in codes for fault in faults_of_inline(code)] == []
    named = [code.split()[1:] for code in codes if code.startswith("make ")]
    assert [fault for words in named for fault in faults_of_make(words)] == []


@by_page
def test_variables_are_read_by_something(page: Path) -> None:
    assert unknown_variables(page.read_text(encoding="utf-8")) == set()


@by_page
def test_links_lead_to_files(page: Path) -> None:
    origin = str(page.relative_to(REPOSITORY))
    generated = (REPOSITORY / "docs/reference").as_posix()  # the strict build knows those
    missing = [
        target
        for target in links(page.read_text(encoding="utf-8"))
        if "://" not in target
        and resolved(origin, target) is None
        and not (page.parent / target).resolve().as_posix().startswith(generated)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("penance-camera demo: --nmae street", "--nmae"),
        ("penance-camera demo: --fps fast", "fps"),
        ("penance-camera demo: --masks some", "masks"),
        ("penance-camera demo: other:", "other:"),
        ("penance-camera --save out.mp4", "source is missing"),
        ("penance-camera demo: --save", "--save"),
        ("penance-cam demo:", "penance-cam"),
        ("penance-train familie --recipe r.yaml", "familie"),
        ("penance-train family --recipe configs/recipes/none.yaml --data D --out O", "none.yaml"),
        ("penance-train family --data D --out O", "recipe is missing"),
        ("penance-admin webhook drop acme", "drop"),
        ("KEY=1 sudo /opt/penance/bin/penance-gateway --dry-run site.yaml", "--dry-run"),
        ("cat key | penance-mqtt mqtt://localhost --retian > log", "--retian"),
        ('kubectl exec "$POD" -- penance-admin creat --scope operator', "creat"),
        ("docker compose exec server penance-admin create --skope operator", "--skope"),
        ("make dmeo", "dmeo"),
        ("make demo VIDOE=street.mp4", "VIDOE"),
        ("python -m load_tests.benchmarks.overlord", "overlord"),
    ],
)
def test_planted_mistakes_are_found(line: str, fault: str) -> None:
    assert fault in " ".join(faults_of_line(line))


@pytest.mark.parametrize(
    "line",
    [
        "penance-camera rtsp://10.0.0.7/live --uplink 0.5  # megabytes per second",
        'penance-camera street.mp4 --server https://penance.example --key "$KEY" &',
        "penance-camera street.mp4 --policy=fixed:42 --segments N",
        "penance-admin --server https://penance.example create acme   # over HTTP",
        "penance-camera --help",
        "kubectl --namespace penance create secret generic penance-redis",
        "make demo VIDEO=street.mp4",
    ],
)
def test_what_is_right_passes(line: str) -> None:
    assert faults_of_line(line) == []


def test_mistakes_beside_blocks_are_found() -> None:
    assert faults_of_inline("penance-evaluate overheads")
    assert faults_of_inline("penance-camera --one-conection")
    assert unknown_variables("set `PENANCE_STATE_DIR` and PENANCE_BUNDLE") == {"PENANCE_STATE_DIR"}
    assert list(shell_lines("```sh\na \\\n  b\n\nc\n```\n```python\nd\n```\n")) == ["a    b", "c"]
    assert resolved("docs/alerts.md", "promises.md") is None
