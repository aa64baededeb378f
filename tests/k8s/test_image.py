"""The image: what its files promise; and, when asked for, each step executed and segments served from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.image import build, enter
from tests.k8s.manifests import REPOSITORY
from tests.k8s.policy import IMAGE

SERVES_TWO_SEGMENTS = """
{command} > /tmp/serve.log 2>&1 &
until wget --quiet --output-document=/dev/null http://127.0.0.1:8000/readyz; do
    kill -0 $! || {{ tail -n 50 /tmp/serve.log >&2; exit 1; }}
    sleep 1
done
penance-camera demo: --segments 2 --pace server --log /tmp/segments.jsonl >&2
touch /opt/penance/written 2> /dev/null && {{ echo "the root can be written" >&2; exit 1; }}
id --user
cat /tmp/segments.jsonl
"""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install '.[dev]'")
    # DL3008: Debian removes old versions of packages, so pinned ones cannot be installed for long.
    command = [hadolint, "--ignore", "DL3008", REPOSITORY / "Dockerfile"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.stdout + result.stderr == ""


def test_what_the_image_is_made_of_is_pinned() -> None:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG DEBIAN=(.+)$", text, re.MULTILINE)
    assert re.fullmatch(r"debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${DEBIAN}"}
    assert "--constraint requirements.lock" in text


def test_the_context_holds_what_is_copied_and_no_secret() -> None:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for word in line.split()
    }
    ignored, *kept = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored == "*"
    assert {word.removeprefix("!") for word in kept if word.startswith("!")} == copied


def test_services_on_one_host_are_pinned_hardened_and_checked(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert IMAGE.fullmatch(service["image"])
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert all("healthcheck" in compose["services"][name] for name in ("redis", "server"))


def test_on_one_host_only_tls_is_open_and_everything_named_exists(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["tls"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert services["redis"]["networks"] == ["inside"]
    for service in services.values():
        assert set(service.get("networks", [])) <= set(compose["networks"])
        assert set(service.get("secrets", [])) <= set(compose["secrets"])
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(compose["volumes"])
        for name, needed in service.get("depends_on", {}).items():
            assert needed == {"condition": "service_healthy"}
            assert "healthcheck" in services[name]


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.skipif(
    "PENANCE_IMAGE_TEST" not in os.environ, reason="takes an hour, root and debootstrap: PENANCE_IMAGE_TEST=1"
)
def test_every_step_can_be_executed_and_the_tree_serves_a_segment(tmp_path: Path) -> None:
    image = build(REPOSITORY / "Dockerfile", tmp_path)
    script = SERVES_TWO_SEGMENTS.format(command=" ".join(image.command))
    inside = ["/bin/bash", "-euo", "pipefail", "-c", f"cd {image.workdir}\n{script}"]
    result = subprocess.run(
        enter(image.root, inside, user=image.user, as_deployed=True),
        env=image.process_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    user, *lines = result.stdout.splitlines()
    assert user == "1000"
    segments = [json.loads(line) for line in lines]
    assert [segment["seq"] for segment in segments] == [0, 1]
    assert all(segment["answer"] for segment in segments)
