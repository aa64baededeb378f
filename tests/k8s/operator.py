"""What KubeRay and Ray ask beyond schemas (KubeRay 1.7's validation.go), and whether each replica of the
`serveConfigV2` finds a node that has what it asks for, never the head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from packaging.version import Version
from pydantic import ValidationError

from serving.options import ServingOptions
from tests.k8s.manifests import REPOSITORY, Manifest, of_kind, ray_cluster, title

STRATEGIES = {"NewCluster", "NewClusterWithIncrementalUpgrade", "None"}


def operator_problems(manifests: list[Manifest]) -> list[str]:
    problems = [p for manifest in of_kind(manifests, "RayService", "RayJob") for p in _cluster(manifest)]
    for service in of_kind(manifests, "RayService"):
        problems += [*_upgrade(service), *_serve(service), *_settings(service, manifests)]
    return problems


def locked_ray() -> str:
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("ray==") for line in lines if line.startswith("ray=="))


def _cluster(manifest: Manifest) -> Iterator[str]:
    where, cluster = title(manifest), ray_cluster(manifest)
    if cluster.get("rayVersion") != locked_ray():
        yield f"{where}: rayVersion {cluster.get('rayVersion')} is not the image's, {locked_ray()}"
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield f"{where}: Ray's token authentication is off"
    elif Version(cluster.get("rayVersion", "0")) < Version("2.52"):
        yield f"{where}: token authentication needs Ray 2.52"
    head = cluster["headGroupSpec"]
    if head.get("rayStartParams", {}).get("num-cpus") != "0":
        yield f"{where}: replicas may be placed on the head, whose num-cpus is not 0"
    names = {v["name"] for v in head["template"]["spec"]["containers"][0].get("env", [])}
    for name in names & {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS", "RAY_AUTH_TOKEN", "RAY_ADDRESS"}:
        yield f"{where}: {name} belongs to KubeRay and must not be set"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{where} {group['groupName']}: replicas are not between minReplicas and maxReplicas"


def _upgrade(service: Manifest) -> Iterator[str]:
    where, spec = title(service), service["spec"]
    strategy = spec.get("upgradeStrategy", {})
    if strategy.get("type") not in STRATEGIES:
        yield f"{where}: upgradeStrategy {strategy.get('type')} is none of {sorted(STRATEGIES)}"
    if strategy.get("type") == "NewClusterWithIncrementalUpgrade":
        options = strategy.get("clusterUpgradeOptions", {})
        for key in ("gatewayClassName", "stepSizePercent", "intervalSeconds"):
            if not options.get(key):
                yield f"{where}: an incremental upgrade needs {key}"
        if not ray_cluster(service).get("enableInTreeAutoscaling"):
            yield f"{where}: an incremental upgrade needs the autoscaler"
    if not spec.get("excludeHeadPodFromServeSvc"):
        yield f"{where}: the head takes requests"
    if "gcsFaultToleranceOptions" not in ray_cluster(service):
        yield f"{where}: the cluster does not survive its head (no gcsFaultToleranceOptions)"


def _serve(service: Manifest) -> Iterator[str]:
    where, groups = f"{title(service)} serveConfigV2", ray_cluster(service)["workerGroupSpecs"]
    try:
        config = yaml.safe_load(service["spec"]["serveConfigV2"])
        deployments = config["applications"][0]["deployments"]
        port, demands = config["http_options"]["port"], [_demand(deployment) for deployment in deployments]
    except (yaml.YAMLError, KeyError, IndexError, TypeError, AttributeError) as error:
        yield f"{where}: is no Serve configuration: {error!r}"
        return
    for group in groups:
        ports = group["template"]["spec"]["containers"][0]["ports"]
        if not any(p["containerPort"] == port and p.get("name") == "serve" for p in ports):
            yield f"{where}: listens on {port}, which is not port `serve` of {group['groupName']}"
    room: dict[str, dict[str, float]] = {}
    for node, offer in _nodes(groups):
        room[node] = offer
    for name, count, demand in sorted(demands, key=lambda d: -sum(d[2].values())):
        for _ in range(count):
            node = next(
                (n for n, free in room.items() if all(free.get(k, 0) >= v - 1e-9 for k, v in demand.items())),
                None,
            )
            if node is None:
                yield f"{where}: {name} finds no node with {demand}"
                break
            for key, value in demand.items():
                room[node][key] -= value
    proxies = {n for n, _ in _nodes(groups) if n.startswith("ingress")}
    ingress = next((d for d in demands if d[0] == "ingress"), None)
    if len(proxies) < 2 or ingress is None or ingress[1] < 2:
        yield f"{where}: fewer than two proxies stand behind the Service"


def _demand(deployment: dict[str, Any]) -> tuple[str, int, dict[str, float]]:
    """A deployment's name, how many replicas it starts with, and what each asks of a node."""
    actor = deployment["ray_actor_options"]
    scaling = deployment.get("autoscaling_config") or {}
    count = deployment.get("num_replicas") or scaling["min_replicas"]
    wanted = {"CPU": actor["num_cpus"], "GPU": actor.get("num_gpus", 0), **actor.get("resources", {})}
    return deployment["name"], count, {key: value for key, value in wanted.items() if value}


def _nodes(groups: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, float]]]:
    for group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        own = {key: float(value) for key, value in group.get("resources", {}).items()}
        offer = {"CPU": float(limits["cpu"]), "GPU": float(limits.get("nvidia.com/gpu", 0)), **own}
        for number in range(group["replicas"]):
            yield f"{group['groupName']}-{number}", dict(offer)


def _settings(service: Manifest, manifests: list[Manifest]) -> Iterator[str]:
    """PENANCE_SERVING_FILE is a key of a mounted ConfigMap, and holds options that the application takes."""
    cluster = ray_cluster(service)
    maps = {manifest["metadata"]["name"]: manifest["data"] for manifest in of_kind(manifests, "ConfigMap")}
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        where, spec = f"{title(service)} {group.get('groupName', 'head')}", group["template"]["spec"]
        container = spec["containers"][0]
        path = next((v["value"] for v in container["env"] if v["name"] == "PENANCE_SERVING_FILE"), "")
        mounted = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
        folder, _, key = path.rpartition("/")
        volume = next((v for v in spec["volumes"] if v["name"] == mounted.get(folder)), {})
        data = maps.get(volume.get("configMap", {}).get("name", ""), {})
        if key not in data:
            yield f"{where}: PENANCE_SERVING_FILE {path} is in no mounted ConfigMap"
            continue
        shipped = yaml.safe_load((REPOSITORY / "configs/serving.yaml").read_text(encoding="utf-8"))
        try:
            ServingOptions.model_validate({**shipped, **yaml.safe_load(data[key])})
        except (ValidationError, yaml.YAMLError) as error:
            yield f"{where}: {key}: {error}"
