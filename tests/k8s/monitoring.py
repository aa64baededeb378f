"""What alerts and the dashboard ask of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import yaml

from tests.k8s.manifests import REPOSITORY

MONITORING = REPOSITORY / "k8s/components/monitoring"


def rules() -> list[dict[str, Any]]:
    manifest = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in manifest["spec"]["groups"] for rule in group["rules"]]


def records() -> set[str]:
    """Series that the rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "penance.json").read_text(encoding="utf-8"))
    targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
    return [target["expr"].replace("$__rate_interval", "5m") for target in targets]


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    """Every series that a parsed expression asks for."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        child = getattr(node, name, None)
        for part in child if isinstance(child, list) else [child]:
            if part is not None:
                yield from selectors(part)
