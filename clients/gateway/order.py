"""What a gateway tells its workers: an `Order` first, later new caps of the uplink. It is light: the gateway
itself loads nothing that only a camera needs.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr

FAILED = 1
"""Exit status of a camera that said why it cannot go on."""


class Order(BaseModel):
    """What a worker is to do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: SecretStr
    server: str
    key: SecretStr
    target_miou: float | None
    policy: str
    uplink: float | None
    pace: Literal["realtime", "server"]
    seconds: float
    fps: float
    size: tuple[int, int]
    loop: bool
    deadline: float | None

    def line(self) -> str:
        """The order as it travels, credentials and all."""
        plain = self.model_dump() | {
            "source": self.source.get_secret_value(),
            "key": self.key.get_secret_value(),
        }
        return json.dumps(plain) + "\n"


class Cap(BaseModel):
    """A new cap of the uplink in MB/s; null takes it away."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uplink: float | None
