"""The `serveConfigV2` of each overlay is what `serve build` makes of the application with its options."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from k8s.serve_config import serve_config
from tests.k8s.manifests import OVERLAYS, of_kind, parse, render

OWN = [folder for folder in OVERLAYS if (folder / "serving.yaml").exists()]


@pytest.mark.slow
@pytest.mark.parametrize("folder", OWN, ids=lambda folder: folder.name)
def test_the_manifest_is_in_step_with_the_application(folder: Path) -> None:
    (service,) = of_kind(parse(render(folder)), "RayService")
    built = serve_config(folder / "serving.yaml")
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == yaml.safe_load(built), "run `make manifests`"
