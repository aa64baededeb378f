"""Planted mistakes: each is made in what an overlay renders to, and must be found and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.k8s.manifests import REPOSITORY, Manifest, parse, render


class Mistake(NamedTuple):
    overlay: str
    right: str
    wrong: str  # in its place, wherever it stands
    named: str  # what must be said


MISTAKES = {
    # what people mistype
    "field": Mistake(
        "kind", "gcsFaultToleranceOptions:", "gcsFaultTolerance:", "'gcsFaultTolerance' was unexpected"
    ),
    "field of a pod": Mistake("kind", "containerPort: 8265", "port: 8265", "'port' was unexpected"),
    "field of a core kind": Mistake(
        "kind", "maxUnavailable:", "maxUnavailble:", "'maxUnavailble' was unexpected"
    ),
    "field of an alert": Mistake("gpu", "annotations:", "anotations:", "'anotations' was unexpected"),
    "kind": Mistake("kind", "kind: StatefulSet", "kind: StatefullSet", "for kind StatefullSet"),
    "API version": Mistake("kind", "policy/v1", "policy/v2", "with api version policy/v2"),
    "one of few values": Mistake("kind", "mode: token", "mode: tokens", "'tokens' is not one of"),
    "upgrade strategy": Mistake("kind", "type: NewCluster", "type: Rolling", "Rolling is none of"),
    "quantity": Mistake("kind", "memory: 8Gi", "memory: 8 GB", "'8 GB'"),
    "number for text": Mistake("kind", 'num-cpus: "0"', "num-cpus: 0", "0 is not of type 'string'"),
    "option of the application": Mistake(
        "kind", "num_replicas: 2\n      max", "num_replica: 2\n      max", "num_replica\n"
    ),
    # wrong indentation
    "indented too little": Mistake(
        "kind", "    authOptions:\n      mode", "  authOptions:\n    mode", "'authOptions' was unexpected"
    ),
    "indented too much": Mistake(
        "gpu-autoscaling",
        "\n    enableInTreeAutoscaling",
        "\n      enableInTreeAutoscaling",
        "'enableInTreeAutoscaling' was unexpected",
    ),
    "serveConfigV2 indented wrongly": Mistake(
        "kind", "    http_options:", "     http_options:", "serveConfigV2: is no Serve configuration"
    ),
    # what is not there
    "no Secret": Mistake(
        "kind", "name: penance-redis\n", "name: penance-valkey\n", "Secret penance-valkey does not exist"
    ),
    "no key in the Secret": Mistake(
        "kind", "key: password", "key: redis", "Secret penance-redis has no key redis"
    ),
    "no certificate": Mistake(
        "kind", "secretName: penance-tls", "secretName: tls", "Secret tls with a certificate"
    ),
    "no ConfigMap": Mistake(
        "kind", "- configMap:\n              name: ", "- configMap:\n              name: my-", "ConfigMap my-"
    ),
    "no ServiceAccount": Mistake(
        "kind", "serviceAccountName: penance", "serviceAccountName: default", "ServiceAccount default"
    ),
    "no volume": Mistake(
        "kind", "/tmp\n              name: scratch", "/tmp\n              name: tmp", "volume tmp is mounted"
    ),
    "no variable": Mistake(
        "kind", "$(PENANCE_REDIS_PASSWORD)", "$(PASSWORD)", "needs PASSWORD, which no earlier"
    ),
    "no settings file": Mistake(
        "kind", "/etc/penance/serving.yaml", "/etc/penance.yaml", "is in no mounted ConfigMap"
    ),
    # ports and names that lead nowhere
    "wrong port of Redis": Mistake("kind", "penance-redis:6379", "penance-redis:6380", "Redis is sought at"),
    "wrong name of Redis": Mistake(
        "kind", "redisAddress: penance-redis", "redisAddress: redis", "Redis is sought at redis:"
    ),
    "wrong Service": Mistake(
        "kind", "name: penance-serve-svc", "name: penance-serve", "Service penance-serve with port"
    ),
    "wrong port of the Service": Mistake(
        "kind", "number: 8000", "number: 80", "Service penance-serve-svc with port 80 "
    ),
    "wrong port of Serve": Mistake("kind", "  port: 8000", "  port: 8001", "listens on 8001"),
    "wrong Gateway": Mistake(
        "incremental-upgrade", "gatewayClassName: istio", "gatewayClassName: envoy", "penance-gateway-istio"
    ),
    "wrong port of metrics": Mistake(
        "gpu", "targetPort: metrics", "targetPort: metric", "has no port metric"
    ),
    "wrong label of a Service": Mistake("gpu", "ray.io/is-ray-node:", "ray.io/is-ray:", "matches no pod"),
    "wrong port of a policy": Mistake("kind", "- port: redis", "- port: valkey", "has a port valkey"),
    "host without TLS": Mistake("kind", "- host: penance", "- host: my.penance", "served without TLS"),
    # what a node has not
    "no GPU": Mistake("gpu", "nvidia.com/gpu: 1", "amd.com/gpu: 1", "finds no node with"),
    "too many replicas": Mistake(
        "gpu-autoscaling", "num_replicas: 4", "num_replicas: 5", "ingress finds no node"
    ),
    "replicas on the head": Mistake(
        "kind", 'num-cpus: "0"', 'num-cpus: "2"', "replicas may be placed on the head"
    ),
    # what must not be
    "root": Mistake("kind", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
    "writable root": Mistake(
        "kind", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "is writable"
    ),
    "no request": Mistake("kind", "cpu: 500m\n", "ephemeral-storage: 1Gi\n", "has no cpu in its requests"),
    "no version": Mistake("kind", "image: penance:0.1.0", "image: penance:latest", "is not pinned"),
    "token of Kubernetes": Mistake(
        "kind",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        "has no use for a token",
    ),
    "another Ray": Mistake("kind", "rayVersion: 2.60.0", "rayVersion: 2.9.0", "is not the image's"),
    "open network": Mistake(
        "kind",
        "podSelector: {}\n  policyTypes:\n  - Ingress\n",
        "podSelector: {}\n  policyTypes:\n",
        "nothing denies",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(mistake: Mistake, problems: Callable[[list[Manifest]], list[str]]) -> None:
    text = render(REPOSITORY / "k8s/overlays" / mistake.overlay)
    assert mistake.right in text, "the mistake cannot be made any more: plant another"
    found = problems(parse(text.replace(mistake.right, mistake.wrong)))
    assert any(mistake.named in problem for problem in found), found
