"""The camera: cuts video into segments, compresses each as a policy says, sends it, hands back answers.

    from clients import Camera

    with Camera("street.mp4", key="id.secret") as camera:
        for result in camera.run():
            print(result.seq, result.configuration, result.answer and result.answer.class_shares)

Names are loaded on first use, so that `import clients` costs next to nothing on a small machine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clients.bandwidth import Uplink
    from clients.camera import Camera, SegmentResult
    from clients.connection import PenanceServer
    from clients.errors import CameraError, RefusedByServer, ServerUnreachable, SourceError, TryLater
    from clients.policy import FixedPolicy, Observation, Policy, RoundRobinPolicy
    from clients.results import Result
    from clients.source import VideoSource
    from clients.subscription import Results

_HOMES = {
    "Camera": "clients.camera",
    "SegmentResult": "clients.camera",
    "Result": "clients.results",
    "Results": "clients.subscription",
    "VideoSource": "clients.source",
    "PenanceServer": "clients.connection",
    "Uplink": "clients.bandwidth",
    "Policy": "clients.policy",
    "Observation": "clients.policy",
    "FixedPolicy": "clients.policy",
    "RoundRobinPolicy": "clients.policy",
    "CameraError": "clients.errors",
    "SourceError": "clients.errors",
    "ServerUnreachable": "clients.errors",
    "TryLater": "clients.errors",
    "RefusedByServer": "clients.errors",
}

__all__ = [
    "Camera",
    "CameraError",
    "FixedPolicy",
    "Observation",
    "PenanceServer",
    "Policy",
    "RefusedByServer",
    "Result",
    "Results",
    "RoundRobinPolicy",
    "SegmentResult",
    "ServerUnreachable",
    "SourceError",
    "TryLater",
    "Uplink",
    "VideoSource",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clients' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
