"""Typed reading of `configs/serving.yaml`: the options of every deployment, and tenants' default limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from clients.administration import TenantLimits
from clients.results import Retention
from configs.settings import SHIPPED_OPTIONS
from serving.alerts.decision import AlertOptions
from serving.bundles.evidence import CanaryOptions
from serving.ingress.admission import AdmissionOptions
from serving.ingress.places import ConnectionsOptions
from serving.promise import AuditOptions
from serving.telemetry.options import TelemetryOptions


class DeploymentOptions(BaseModel):
    """Options that Ray Serve takes for any deployment, by Serve's own names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_replicas: int | None = Field(None, ge=1)
    autoscaling_config: dict[str, Any] | None = None
    max_ongoing_requests: int = Field(16, ge=1)
    max_queued_requests: int = Field(-1, ge=-1)
    health_check_period_s: float = Field(10, gt=0)
    health_check_timeout_s: float = Field(30, gt=0)
    graceful_shutdown_timeout_s: float = Field(5, ge=0)
    max_constructor_retry_count: int = Field(3, ge=1)
    ray_actor_options: dict[str, Any] = Field(default_factory=dict)

    def for_serve(self) -> dict[str, Any]:
        """Keyword arguments of `Deployment.options`."""
        return self.model_dump(include=set(DeploymentOptions.model_fields), exclude_none=True)


class VariantOptions(DeploymentOptions):
    """A variant's deployment: what its replicas do besides."""

    batch_frames: int = Field(1, ge=1, le=120)
    decoders: int = Field(2, ge=1, le=16)
    threads: int = Field(2, ge=1)


class VariantsSection(BaseModel):
    """Options of all variants, and by a variant's number what differs for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: dict[str, Any]
    overrides: dict[int, dict[str, Any]] = Field(default_factory=dict)


class ServingOptions(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: TenantLimits
    retention: Retention
    connections: ConnectionsOptions
    admission: AdmissionOptions
    audits: AuditOptions
    canary: CanaryOptions
    alerts: AlertOptions
    telemetry: TelemetryOptions
    ingress: DeploymentOptions
    encoder: DeploymentOptions
    variants: VariantsSection

    def variant(self, index: int) -> VariantOptions:
        """Options of one variant: its overrides over the defaults."""
        overrides = self.variants.overrides.get(index, {})
        return VariantOptions.model_validate({**self.variants.defaults, **overrides})


def load_options(path: Path) -> ServingOptions:
    """Reads the file; a section that it leaves out is the shipped one. `pydantic.ValidationError` says which
    option is wrong and why."""
    shipped, own = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in (SHIPPED_OPTIONS, path))
    return ServingOptions.model_validate({**shipped, **own})
