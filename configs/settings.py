"""All settings in one typed place. Each is an environment variable `PENANCE_<NAME>`; YAML files are for
what people edit at length (`configs/serving.yaml`, `configs/ladder.yaml`, recipes)."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from configs.bundle import DEFAULT_BUNDLE

SHIPPED_OPTIONS = Path(__file__).with_name("serving.yaml")


def default_state_directory() -> Path:
    """Per-user state: `$XDG_STATE_HOME/penance`, usually `~/.local/state/penance`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "penance"


def default_cache_directory() -> Path:
    """What can be fetched again: `$XDG_CACHE_HOME/penance`, usually `~/.cache/penance`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penance"


class Settings(BaseSettings):
    """Settings shared by server and camera; read once at start."""

    model_config = SettingsConfigDict(env_prefix="PENANCE_", frozen=True, populate_by_name=True)

    bundle: Path = Field(DEFAULT_BUNDLE, description="folder of the bundle in force")
    state_directory: Path = Field(
        default_factory=default_state_directory,
        description="database, default key, a replica's copies of pushed bundles",
    )
    cache_directory: Path = Field(
        default_factory=default_cache_directory, description="a camera's copies of the servers' bundles"
    )
    serving_file: Path = Field(
        SHIPPED_OPTIONS,
        description="replicas and resources of every deployment; sections left out are as shipped",
    )
    rates_file: Path = Field(Path(__file__).with_name("rates.yaml"), description="what use costs")
    redis_url: str | None = Field(
        None,
        validation_alias=AliasChoices("PENANCE_REDIS_URL", "REDIS_URL"),
        description="Redis or Valkey to use; an embedded server is started when there is none",
    )
    redis_cluster: bool = Field(False, description="whether `redis_url` is a node of a Redis Cluster")
    bundles_held: int = Field(
        2,
        ge=2,
        le=8,
        description="bundles that each replica holds loaded: in force, and the next or the last",
    )
    bundles_kept: int = Field(8, ge=1, le=64, description="bundles that may lie in the store")
    max_bundle_bytes: int = Field(
        256 * 2**20, gt=0, description="largest archive of a bundle that may be pushed"
    )
    signing_key: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9+/]{43}=$",
        description="the only key whose signature of bundles a camera trusts (`penance-admin bundle list`); "
        "without it, the one that its first registration gives",
    )
    camera_idle_days: float = Field(
        90.0, gt=0, le=3650, description="a camera's state is forgotten after so long without a segment"
    )
    max_segment_bytes: int = Field(8 * 2**20, gt=0, description="largest body of an upload, chunked or not")
    body_timeout_s: float = Field(30.0, gt=0, description="longest time an upload may take")
    answer_timeout_s: float = Field(
        120.0, gt=0, description="longest time a segment without a deadline may take"
    )
    answers_kept: int = Field(32, ge=1, le=1024, description="answers stored for replay, per camera")
    transitions_kept: int = Field(
        256,
        ge=0,
        le=100_000,
        description="transitions kept for learning, per camera, 1 KB each; 0: none",
    )
    results_kept: int = Field(
        256, ge=1, le=10_000, description="results that can be read again, per camera, 1 KB each at most"
    )
    label_maps_kept: int = Field(
        16, ge=1, le=1024, description="segments whose label maps are held, per camera; 2 MB each at most"
    )
    lease_s: float = Field(
        1.5, gt=0.2, description="how long a segment stays claimed by a replica that fell silent"
    )
    decode_timeout_s: float = Field(10.0, gt=0, description="longest time that decoding one segment may take")
    decode_memory_mb: int = Field(1024, ge=256, description="address space of one decoder process")

    trace_share: float = Field(
        0.0, ge=0, le=1, description="share of segments whose way a camera traces (docs/telemetry.md)"
    )

    @property
    def key_file(self) -> Path:
        """Where the first start writes the key of tenant `demo`, readable by its owner only."""
        return self.state_directory / "demo.key"
