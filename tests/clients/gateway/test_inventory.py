"""An inventory says what is wrong with it, shares the uplink, and never holds a credential."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import configs
from clients.gateway.inventory import (
    CameraEntry,
    Inventory,
    InventoryError,
    check_credentials,
    load_inventory,
)

ROOT = Path(__file__).parents[3]
GATE = {"name": "gate", "url": "rtsp://10.0.0.7/live"}
SECRET = "pass/word@1"


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def site(*cameras: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"cameras": list(cameras), **more}


def test_the_example_is_valid() -> None:
    found = load_inventory(Path(configs.__file__).with_name("site.yaml"))
    assert [camera.name for camera in found.cameras] == ["gate-north", "gate-south", "rehearsal"]
    assert found.shares() == {"gate-north": 1.75, "gate-south": 0.5, "rehearsal": 1.75}
    assert found.cameras[0].policy == "fixed:0.75/24/1"  # a default
    assert found.cameras[2].policy == "round-robin"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("cameras: [", "no YAML"),
        ("[]", "Input should be"),
        ({"cameras": []}, "at least 1"),
        (site({"name": "gate"}), "cameras.0.url: Field required"),
        (site(GATE, GATE), "given twice: gate"),
        (site(GATE | {"target_miou": 2}), "cameras.0.target_miou"),
        (site(GATE | {"policy": "best"}), "round-robin"),
        (site(GATE | {"colour": "red"}), "cameras.0.colour"),
        (site(GATE | {"uplink": 0}), "cameras.0.uplink"),
        (site(GATE | {"size": [1281, 720]}), "multiple of 2"),
        (site(GATE | {"url": "rtsp://user:word@10.0.0.7/live"}), "the address holds a login"),
        (site(GATE | {"login": {"user": "u", "password": "plain"}}), "cameras.0.login.password"),
        (site(GATE | {"login": {"user": "u", "password": {}}}), "env: NAME or file: PATH"),
        (site(GATE | {"url": "a.mp4", "login": {"user": "u", "password": {"env": "X"}}}), "needs an address"),
        (site(GATE, uplink=1, defaults={"uplink": 2}), "2 MB/s of the site's 1"),
        (site(GATE | {"uplink": 1}, GATE | {"name": "b"}, uplink=1), "leave nothing to the others"),
        (site(GATE, server="ftp://x"), "server"),
        (site(GATE, defaults=[1]), "defaults"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InventoryError) as refusal:
        load_inventory(write(tmp_path, content))
    assert words in str(refusal.value)


def test_an_inventory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot read"):
        load_inventory(tmp_path / "nowhere.yaml")


def test_logins_come_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_PASSWORD", SECRET)
    (tmp_path / "word").write_text(SECRET + "\n")
    for place in ({"env": "GATE_PASSWORD"}, {"file": "word"}):
        entry = CameraEntry.model_validate(GATE | {"login": {"user": "me", "password": place}})
        assert entry.source(tmp_path) == "rtsp://me:pass%2Fword%401@10.0.0.7/live"
        assert SECRET not in repr(entry)


@pytest.mark.parametrize(
    ("url", "source"),
    [("demo:7", "demo:7"), ("0", "0"), ("a/b.mp4", "{folder}/a/b.mp4"), ("/c.mp4", "/c.mp4")],
)
def test_files_are_found_beside_the_inventory(tmp_path: Path, url: str, source: str) -> None:
    assert CameraEntry(name="gate", url=url).source(tmp_path) == source.format(folder=tmp_path)


def test_a_credential_that_is_missing_is_named_by_its_place(tmp_path: Path) -> None:
    for place, words in [({"env": "NOT_SET_1"}, "NOT_SET_1"), ({"file": "none"}, "cannot read")]:
        inventory = Inventory.model_validate(
            site(GATE | {"login": {"user": "me", "password": place}}, key=place)
        )
        with pytest.raises(InventoryError, match=words):
            check_credentials(inventory, tmp_path)
        with pytest.raises(InventoryError, match=f"camera gate: .*{words}"):
            check_credentials(inventory.model_copy(update={"key": None}), tmp_path)


caps = st.one_of(st.none(), st.floats(0.1, 5))


@given(st.lists(caps, min_size=1, max_size=8), st.one_of(st.none(), st.floats(0.5, 100)))
def test_shares_never_add_up_to_more_than_the_site_has(own: list[float | None], uplink: float | None) -> None:
    cameras = tuple(CameraEntry(name=f"cam {i}", url="demo:", uplink=cap) for i, cap in enumerate(own))
    taken = sum(cap for cap in own if cap is not None)
    if uplink is not None and taken >= uplink:
        return
    shares = Inventory(cameras=cameras, uplink=uplink).shares()
    for entry in cameras:
        assert entry.uplink is None or shares[entry.name] == entry.uplink
    others = {shares[entry.name] for entry in cameras if entry.uplink is None}
    assert len(others) <= 1
    if uplink is None:
        assert others <= {None}
    else:
        assert sum(share for share in shares.values() if share is not None) <= uplink * (1 + 1e-9)
        assert None not in shares.values()


def check(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clients.gateway.cli", str(path), "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_tells_a_good_inventory_from_a_bad_one(tmp_path: Path) -> None:
    path = write(tmp_path, site(GATE | {"login": {"user": "me", "password": {"env": "GATE_WORD"}}}))
    good = check(path, GATE_WORD=SECRET)
    assert (good.returncode, good.stdout) == (0, f"{path} is valid: 1 cameras for http://127.0.0.1:8000\n")
    bad = check(path, GATE_WORD="")
    assert bad.returncode == 1
    assert "GATE_WORD" in bad.stderr
    assert "Traceback" not in bad.stderr
    assert SECRET not in good.stdout + good.stderr
