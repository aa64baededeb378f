"""`configs/serving.yaml` as the application reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from configs.ladder import MOST_VARIANTS
from configs.settings import Settings
from serving.options import DeploymentOptions, load_options


def test_the_largest_family_fits_two_cores() -> None:
    options = load_options(Settings().serving_file)
    deployments = [options.ingress, options.encoder, *(options.variant(i) for i in range(MOST_VARIANTS))]
    total = 0.05  # the embedded database
    for deployment in deployments:
        most = (deployment.autoscaling_config or {}).get("max_replicas") or deployment.num_replicas or 1
        total += most * deployment.ray_actor_options["num_cpus"]
    assert total <= 2


def test_overrides_hold_for_one_variant(tmp_path: Path) -> None:
    text = Settings().serving_file.read_text().replace("overrides: {}", "overrides: {0: {batch_frames: 15}}")
    (tmp_path / "serving.yaml").write_text(text)
    options = load_options(tmp_path / "serving.yaml")
    assert (options.variant(0).batch_frames, options.variant(1).batch_frames) == (15, 1)


def test_serve_gets_only_its_own_options() -> None:
    assert "batch_frames" not in load_options(Settings().serving_file).variant(0).for_serve()


def test_a_misspelt_option_is_refused(tmp_path: Path) -> None:
    (tmp_path / "serving.yaml").write_text(
        Settings().serving_file.read_text().replace("num_replicas: 2", "num_replica: 2")
    )
    with pytest.raises(ValidationError, match="num_replica"):
        load_options(tmp_path / "serving.yaml")


def test_sections_that_a_file_leaves_out_are_as_shipped(tmp_path: Path) -> None:
    (tmp_path / "serving.yaml").write_text("ingress: {num_replicas: 5}\n")
    options, shipped = load_options(tmp_path / "serving.yaml"), load_options(Settings().serving_file)
    assert options.ingress == DeploymentOptions(num_replicas=5)  # sections are taken whole
    assert options.model_copy(update={"ingress": shipped.ingress}) == shipped
