"""One real application for all tests of this folder, and a camera to talk to it with."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from clients.codec import encode_segment
from clients.protocol import SEGMENT_TYPE
from configs.bundle import DEFAULT_BUNDLE
from configs.ladder import CompressionSetting
from load_tests.application import RunningApplication

FRAMES, WIDTH, HEIGHT = 3, 128, 96
SMALL = {"seconds": 0.2, "fps": 15, "width": WIDTH, "height": HEIGHT}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def bundle() -> Path:
    return Path(os.environ.get("PENANCE_BUNDLE", DEFAULT_BUNDLE))


@pytest.fixture(scope="session")
def application(short_directory: Path, bundle: Path) -> Iterator[RunningApplication]:
    with RunningApplication(short_directory / "app", bundle) as running:
        yield running


@dataclass
class TestCamera:
    """A registered camera that speaks plain HTTP, so that tests see every byte and status."""

    __test__ = False

    http: httpx.Client
    id: str
    token: str
    bundle: str
    next_seq: int

    def put(
        self, seq: int | str, body: Any, *, headers: dict[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        parameters = {"configuration": 89, "bundle": self.bundle, **query}
        own = {"Authorization": f"Bearer {self.token}", "Content-Type": SEGMENT_TYPE}
        return self.http.put(
            f"/v1/clients/{self.id}/segments/{seq}",
            content=body,
            params={name: value for name, value in parameters.items() if value is not None},
            headers={name: value for name, value in (own | (headers or {})).items() if value},
        )

    def status(self) -> dict[str, Any]:
        answer = self.http.get(f"/v1/clients/{self.id}", headers={"Authorization": f"Bearer {self.token}"})
        return dict(answer.raise_for_status().json())


@pytest.fixture(scope="session")
def http(application: RunningApplication) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=application.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def new_camera(application: RunningApplication, http: httpx.Client) -> Callable[..., TestCamera]:
    def register(**segment: Any) -> TestCamera:
        answer = http.post(
            "/v1/clients",
            json={"name": uuid.uuid4().hex, "segment": SMALL | segment},
            headers={"Authorization": f"Bearer {application.key}"},
        ).raise_for_status()
        body = answer.json()
        return TestCamera(http, body["id"], body["token"], body["bundle"], body["next_seq"])

    return register


@pytest.fixture
def camera(new_camera: Callable[..., TestCamera]) -> TestCamera:
    return new_camera()


def frames(count: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    rows, columns = np.mgrid[0:height, 0:width]
    return [
        np.stack([rows % 256, (columns + 7 * i) % 256, (rows + columns) // 2 % 256], axis=-1).astype(np.uint8)
        for i in range(count)
    ]


SEGMENT = encode_segment(frames(), CompressionSetting(0.5, 30), fps=15)
"""What configuration 89 of a camera with `SMALL` segments sends."""
