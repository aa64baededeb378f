"""Section `telemetry` of `configs/serving.yaml`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class TelemetryOptions(BaseModel):
    """How many tenants metrics tell apart, and how the log is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenants: int = Field(50, ge=0, le=1000)
    log: Literal["JSON", "TEXT"] = "JSON"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    access_log: bool = True

    def for_serve(self) -> dict[str, Any]:
        """Ray Serve's `logging_config` for every deployment."""
        return {"encoding": self.log, "log_level": self.log_level, "enable_access_log": self.access_log}
