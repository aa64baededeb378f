"""Are the manifests what the kinds' schemas allow, and nothing else? Kubernetes' own kinds by the schemas
that kubernetes-validate carries, KubeRay's by their CRDs (development data), others by `schemas.yaml`."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.k8s.manifests import Manifest, title

KUBERNETES = "1.34"
"""The oldest version that is still looked after: what is valid there stays so."""


def schema_problems(manifest: Manifest, crds: Path) -> list[str]:
    """Everything that the API server would refuse, or drop without a word."""
    return _problems(json.dumps(manifest), crds)


@cache
def _problems(text: str, crds: Path) -> list[str]:
    manifest: Manifest = json.loads(text)
    group = manifest["apiVersion"].rpartition("/")[0]
    if group == "ray.io":
        return _by_schema(manifest, _crd(crds, manifest["kind"]))
    others = yaml.safe_load(Path(__file__).with_name("schemas.yaml").read_text(encoding="utf-8"))
    if key := next((k for k in others if k == f"{manifest['apiVersion']} {manifest['kind']}"), None):
        return _by_schema(manifest, _strict(others[key]))
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{title(manifest)}: {_place(error)}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{title(manifest)}: {error.message}"]
    return []


def _by_schema(manifest: Manifest, schema: dict[str, Any]) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(manifest)
    return [f"{title(manifest)}: {_place(error)}: {error.message}" for error in errors]


def _place(error: Any) -> str:
    return ".".join(str(step) for step in error.absolute_path) or "top"


@cache
def _crd(crds: Path, kind: str) -> dict[str, Any]:
    text = (crds / f"ray.io_{kind.lower()}s.yaml").read_text(encoding="utf-8")
    versions = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"]
    schema = next(version for version in versions if version["name"] == "v1")["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return _strict(schema)


def _strict(schema: Any) -> Any:
    """The schema with every field refused that it does not name: a typo is an error, not a field dropped."""
    schema = copy.deepcopy(schema)

    def close(node: Any) -> None:
        if not isinstance(node, dict):
            return
        if "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node.setdefault("additionalProperties", False)
        for child in node.get("properties", {}).values():
            close(child)
        for key in ("items", "additionalProperties"):
            close(node.get(key))

    close(schema)
    return schema
