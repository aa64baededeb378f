"""Every overlay and job, as it would be applied, is valid, complete and as careful as it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.k8s.conftest import PAGE
from tests.k8s.manifests import JOBS, OVERLAYS, REPOSITORY, Manifest, of_kind, parse, pods, render


@pytest.mark.parametrize("folder", [*OVERLAYS, *JOBS], ids=lambda folder: folder.name)
def test_nothing_is_wrong(folder: Path, problems: Callable[[list[Manifest]], list[str]]) -> None:
    manifests = parse(render(folder))
    if folder in JOBS:  # they come into the namespace of the service, and use its account
        manifests += of_kind(parse(render(REPOSITORY / "k8s/base")), "ServiceAccount")
    assert problems(manifests) == []


@pytest.mark.parametrize("folder", [*OVERLAYS, *JOBS], ids=lambda folder: folder.name)
def test_everything_is_in_the_namespace(folder: Path) -> None:
    places = {
        manifest["kind"]: manifest["metadata"].get("namespace")
        for manifest in parse(render(folder))
        if manifest["kind"] not in ("Namespace", "GatewayClass")
    }
    assert set(places.values()) == {"penance"}


def test_upgrades_are_whole_clusters_unless_asked_otherwise() -> None:
    strategies = {}
    for folder in OVERLAYS:
        (service,) = of_kind(parse(render(folder)), "RayService")
        strategies[folder.name] = service["spec"]["upgradeStrategy"]["type"]
    assert strategies.pop("incremental-upgrade") == "NewClusterWithIncrementalUpgrade"
    assert set(strategies.values()) == {"NewCluster"}


def test_only_the_autoscaler_gets_a_token_of_kubernetes() -> None:
    holders = {
        (folder.name, pod.where)
        for folder in OVERLAYS
        for pod in pods(parse(render(folder)))
        if pod.spec["automountServiceAccountToken"]
    }
    assert holders == {
        ("gpu-autoscaling", "RayService/penance head"),
        ("incremental-upgrade", "RayService/penance head"),
    }


def test_the_page_names_every_overlay_and_job() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {REPOSITORY / path for path in re.findall(r"k8s/(?:overlays|jobs)/[\w-]+", text)}
    assert {*OVERLAYS, *JOBS} <= named
    assert all(path.is_dir() for path in named)
