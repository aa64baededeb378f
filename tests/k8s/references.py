"""Does everything that a manifest names exist? Secrets, ConfigMaps, claims, accounts, Services, ports, and
labels that select something. Schemas cannot tell; a cluster tells late."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tests.k8s.manifests import Manifest, Pod, matches, of_kind, pods, ray_cluster, title

Secrets = Mapping[str, set[str]]
"""Secrets that the operator makes by hand, and their keys."""


def reference_problems(manifests: list[Manifest], given: Secrets) -> list[str]:
    found = pods(manifests)
    return [
        *_pod_references(found, manifests, given),
        *_redis(found, manifests),
        *_services(found, manifests),
        *_ingresses(manifests, given),
        *_network_policies(found, manifests),
        *_selectors(found, manifests),
    ]


def _names(manifests: list[Manifest], kind: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in of_kind(manifests, kind)}


def _pod_references(found: list[Pod], manifests: list[Manifest], given: Secrets) -> Iterator[str]:
    maps, accounts = _names(manifests, "ConfigMap"), _names(manifests, "ServiceAccount")
    claims = _names(manifests, "PersistentVolumeClaim")
    templates = [
        c for m in of_kind(manifests, "StatefulSet") for c in m["spec"].get("volumeClaimTemplates", [])
    ]
    for pod in found:
        if (account := pod.spec.get("serviceAccountName")) not in accounts:
            yield f"{pod.where}: ServiceAccount {account} does not exist"
        volumes = {claim["metadata"]["name"] for claim in templates}
        for volume in pod.spec.get("volumes", []):
            volumes.add(volume["name"])
            if "configMap" in volume and volume["configMap"]["name"] not in maps:
                yield f"{pod.where}: ConfigMap {volume['configMap']['name']} does not exist"
            if (
                "persistentVolumeClaim" in volume
                and volume["persistentVolumeClaim"]["claimName"] not in claims
            ):
                yield f"{pod.where}: claim {volume['persistentVolumeClaim']['claimName']} does not exist"
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{pod.where}: volume {mount['name']} is mounted but does not exist"
            yield from _environment(f"{pod.where} {container['name']}", container, given)


def _environment(where: str, container: dict[str, Any], given: Secrets) -> Iterator[str]:
    known: set[str] = set()
    for variable in container.get("env", []):
        yield from _secret_key(where, variable, given)
        for name in re.findall(r"\$\((\w+)\)", variable.get("value", "")):
            if name not in known:
                yield f"{where}: {variable['name']} needs {name}, which no earlier variable is"
        known.add(variable["name"])
    for name in re.findall(r"\$\((\w+)\)", " ".join(container.get("args", []))):
        if name not in known:
            yield f"{where}: its arguments need {name}, which no variable is"


def _secret_key(where: str, source: dict[str, Any], given: Secrets) -> Iterator[str]:
    if key := source.get("valueFrom", {}).get("secretKeyRef"):
        if key["name"] not in given:
            yield f"{where}: Secret {key['name']} does not exist"
        elif key["key"] not in given[key["name"]]:
            yield f"{where}: Secret {key['name']} has no key {key['key']}"


def _redis(found: list[Pod], manifests: list[Manifest]) -> Iterator[str]:
    """Ray's and the application's Redis is a Service here, at a port that it has; with its password."""
    addresses = [
        (pod.where, urlsplit(variable["value"].replace("$(", "").replace(")", "")).netloc.rpartition("@")[2])
        for pod in found
        for container in pod.containers
        for variable in container.get("env", [])
        if variable["name"] == "REDIS_URL"
    ]
    for service in of_kind(manifests, "RayService"):
        options = ray_cluster(service).get("gcsFaultToleranceOptions", {})
        addresses.append((title(service), options.get("redisAddress", "")))
    for where, address in addresses:
        host, _, port = address.rpartition(":")
        if not _has_service(manifests, host, int(port or 0)):
            yield f"{where}: Redis is sought at {address or 'nowhere'}, but there is no such Service"


def _has_service(manifests: list[Manifest], name: str, port: int | str) -> bool:
    return any(
        port in (known["port"], known.get("name"))
        for service in [*of_kind(manifests, "Service"), *operators_services(manifests)]
        if service["metadata"]["name"] == name
        for known in service["spec"]["ports"]
    )


def operators_services(manifests: list[Manifest]) -> list[Manifest]:
    """Services that KubeRay makes for a RayService, and Istio for the Gateway that KubeRay makes for it."""
    made = []
    for service in of_kind(manifests, "RayService"):
        name = service["metadata"]["name"]
        head = ray_cluster(service)["headGroupSpec"]["template"]["spec"]["containers"][0]
        serve = [{"port": p["containerPort"]} for p in head["ports"] if p.get("name") == "serve"]
        made.append({"metadata": {"name": f"{name}-serve-svc"}, "spec": {"ports": serve}})
        if options := service["spec"]["upgradeStrategy"].get("clusterUpgradeOptions"):
            gateway = f"{name}-gateway-{options['gatewayClassName']}"
            made.append({"metadata": {"name": gateway}, "spec": {"ports": [{"port": 80}]}})
    return made


def _services(found: list[Pod], manifests: list[Manifest]) -> Iterator[str]:
    for service in of_kind(manifests, "Service"):
        selected = [pod for pod in found if matches({"matchLabels": service["spec"]["selector"]}, pod.labels)]
        if not selected:
            yield f"{title(service)}: its selector matches no pod"
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            for pod in selected:
                if not pod.has_port(target):
                    yield f"{title(service)}: {pod.where} has no port {target}"
    for stateful in of_kind(manifests, "StatefulSet"):
        if (name := stateful["spec"]["serviceName"]) not in _names(manifests, "Service"):
            yield f"{title(stateful)}: Service {name} does not exist"
        if not matches(stateful["spec"]["selector"], stateful["spec"]["template"]["metadata"]["labels"]):
            yield f"{title(stateful)}: its selector does not match its own pods"


def _ingresses(manifests: list[Manifest], given: Secrets) -> Iterator[str]:
    for ingress in of_kind(manifests, "Ingress"):
        where, hosts = title(ingress), set()
        for tls in ingress["spec"].get("tls", []):
            hosts.update(tls["hosts"])
            if not {"tls.crt", "tls.key"} <= given.get(tls["secretName"], set()):
                yield f"{where}: Secret {tls['secretName']} with a certificate does not exist"
        for rule in ingress["spec"]["rules"]:
            if rule["host"] not in hosts:
                yield f"{where}: {rule['host']} is served without TLS"
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                (port,) = service["port"].values()
                if not _has_service(manifests, service["name"], port):
                    yield f"{where}: Service {service['name']} with port {port} does not exist"


def _network_policies(found: list[Pod], manifests: list[Manifest]) -> Iterator[str]:
    gateways = [
        Pod(
            f"{title(service)} gateway",
            {"gateway.networking.k8s.io/gateway-name": f"{service['metadata']['name']}-gateway"},
            {"containers": [{"name": "proxy", "ports": [{"containerPort": 80}]}]},
        )
        for service in of_kind(manifests, "RayService")
        if "clusterUpgradeOptions" in service["spec"]["upgradeStrategy"]
    ]
    found = [*found, *gateways]
    for policy in of_kind(manifests, "NetworkPolicy"):
        where, spec = title(policy), policy["spec"]
        own = [pod for pod in found if matches(spec["podSelector"], pod.labels)]
        if not own:
            yield f"{where}: its selector matches no pod"
        for rule in spec.get("ingress", []):
            yield from _rule(where, rule.get("from", []), found)
            yield from _ports(where, rule, own)
        for rule in spec.get("egress", []):
            yield from _rule(where, rule.get("to", []), found)
            for peer in rule.get("to", []):
                if "podSelector" in peer:
                    yield from _ports(
                        where, rule, [p for p in found if matches(peer["podSelector"], p.labels)]
                    )
    denied = [p for p in of_kind(manifests, "NetworkPolicy") if p["spec"]["podSelector"] == {}]
    if of_kind(manifests, "Namespace") and not any(
        policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        and not {"ingress", "egress"} & set(policy["spec"])
        for policy in denied
    ):
        yield "NetworkPolicy: nothing denies what is not allowed"


def _rule(where: str, peers: list[dict[str, Any]], found: list[Pod]) -> Iterator[str]:
    for peer in peers:
        if "podSelector" in peer and not any(matches(peer["podSelector"], pod.labels) for pod in found):
            yield f"{where}: {peer['podSelector']['matchLabels']} matches no pod"


def _ports(where: str, rule: dict[str, Any], selected: list[Pod]) -> Iterator[str]:
    for port in rule.get("ports", []):
        if selected and not any(pod.has_port(port["port"]) for pod in selected):
            yield f"{where}: none of its pods has a port {port['port']}"


def _selectors(found: list[Pod], manifests: list[Manifest]) -> Iterator[str]:
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        if not any(matches(budget["spec"]["selector"], pod.labels) for pod in found):
            yield f"{title(budget)}: its selector matches no pod"
    for pod in found:
        for constraint in pod.spec.get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], pod.labels):
                yield f"{pod.where}: its spread constraint does not match itself"
    for monitor in of_kind(manifests, "ServiceMonitor"):
        services = [
            service
            for service in of_kind(manifests, "Service")
            if matches(monitor["spec"]["selector"], service["metadata"].get("labels", {}))
        ]
        if not services:
            yield f"{title(monitor)}: its selector matches no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            for service in services:
                if endpoint["port"] not in {port.get("name") for port in service["spec"]["ports"]}:
                    yield f"{title(monitor)}: {title(service)} has no port named {endpoint['port']}"
