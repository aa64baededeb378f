"""All that is asked of manifests, in one function."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.k8s.manifests import REPOSITORY, Manifest
from tests.k8s.operator import operator_problems
from tests.k8s.policy import policy_problems
from tests.k8s.references import Secrets, reference_problems
from tests.k8s.schemas import schema_problems

PAGE = REPOSITORY / "docs/kubernetes.md"


@pytest.fixture(scope="session")
def crds() -> Path:
    """KubeRay's custom resource definitions, which no package carries."""
    folder = Path(os.environ.get("PENANCE_DATA", REPOSITORY.parent / "shared/data")) / "kuberay"
    if not folder.is_dir():
        pytest.skip(f"needs KubeRay's CRDs, which are not at {folder} (set PENANCE_DATA)")
    return folder


@pytest.fixture(scope="session")
def given() -> Secrets:
    """The Secrets that the operator's page has made by hand: the only ones that manifests may count on."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    made: dict[str, set[str]] = {}
    for kind, name, rest in re.findall(r"create secret (generic|tls) (\S+)(.*)", text):
        made[name] = (
            {"tls.crt", "tls.key"} if kind == "tls" else set(re.findall(r"--from-literal=(\w+)=", rest))
        )
    return made


@pytest.fixture(scope="session")
def problems(crds: Path, given: Secrets) -> Callable[[list[Manifest]], list[str]]:
    """Everything that is wrong with manifests, a line each; what schemas refuse is not looked at further."""

    def find(manifests: list[Manifest]) -> list[str]:
        refused = [problem for manifest in manifests for problem in schema_problems(manifest, crds)]
        return refused or [
            *reference_problems(manifests, given),
            *policy_problems(manifests),
            *operator_problems(manifests),
        ]

    return find
