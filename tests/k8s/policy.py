"""How pods must be: what linters such as kube-linter ask, also inside KubeRay's kinds, which those do not
know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.manifests import Manifest, Pod, pods

IMAGE = re.compile(r".+:v?\d[\w.-]*(@sha256:[0-9a-f]{64})?")


def policy_problems(manifests: list[Manifest]) -> list[str]:
    return [problem for pod in pods(manifests) for problem in _of_pod(pod)]


def _of_pod(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or context.get("runAsUser", 0) == 0:
        yield f"{pod.where}: may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{pod.where}: has no seccomp profile"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"{pod.where}: has {key}"
    if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
        yield f"{pod.where}: mounts a path of its node"
    autoscaling = any(container["name"] == "autoscaler" for container in pod.containers)
    if pod.spec.get("automountServiceAccountToken") is not autoscaling:
        yield f"{pod.where}: {'needs' if autoscaling else 'has no use for'} a token of Kubernetes"
    for container in pod.containers:
        yield from _of_container(f"{pod.where} {container['name']}", container)


def _of_container(where: str, container: dict[str, Any]) -> Iterator[str]:
    if not IMAGE.fullmatch(container["image"]):
        yield f"{where}: image {container['image']} is not pinned to a version"
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
        yield f"{where}: may gain privileges"
    if not context.get("readOnlyRootFilesystem"):
        yield f"{where}: its root file system is writable"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
        yield f"{where}: keeps capabilities"
    resources = container.get("resources", {})
    for kind, name in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if name not in resources.get(kind, {}):
            yield f"{where}: has no {name} in its {kind}"
