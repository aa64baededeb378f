"""One real application for all tests of this folder, and a camera to talk to it with."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from clients.codec import encode_segment
from clients.protocol import SegmentFormat
from configs.bundle import DEFAULT_BUNDLE
from configs.ladder import CompressionSetting
from configs.settings import Settings
from load_tests.application import RunningApplication
from load_tests.plain_camera import PlainCamera, register_plain
from tests.collector import Collector

FRAMES, WIDTH, HEIGHT = 3, 128, 96
SMALL: dict[str, Any] = {"seconds": 0.2, "fps": 15, "width": WIDTH, "height": HEIGHT}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its application said last: the cause is there more often than here."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, RunningApplication) and value.log.exists():
                report.sections.append((f"last lines of {name}", value.last_lines(60)))
    return report


@pytest.fixture(scope="session")
def bundle() -> Path:
    return Path(os.environ.get("PENANCE_BUNDLE", DEFAULT_BUNDLE))


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Gets the application's traces: of requests that ask for it, of no others."""
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def application(short_directory: Path, bundle: Path, collector: Collector) -> Iterator[RunningApplication]:
    environment = {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "serving.telemetry.tracing:span_processors",
        "RAY_SERVE_TRACING_SAMPLING_RATIO": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "RAY_metrics_report_interval_ms": "3000",
    }
    with RunningApplication(short_directory / "app", bundle, environment=environment) as running:
        yield running


@contextmanager
def auditing_application(state: Path, bundle: Path) -> Iterator[RunningApplication]:
    """One that audits every segment."""
    path = state.with_suffix(".yaml")
    text = Settings().serving_file.read_text(encoding="utf-8")
    path.write_text(text.replace("audits: {share: 0.02", "audits: {share: 1"), encoding="utf-8")
    with RunningApplication(state, bundle, environment={"PENANCE_SERVING_FILE": str(path)}) as running:
        yield running


@pytest.fixture(scope="session")
def http(application: RunningApplication) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=application.url, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def new_camera(application: RunningApplication, http: httpx.Client) -> Callable[..., PlainCamera]:
    def register(**segment: Any) -> PlainCamera:
        return register_plain(http, application.key, SegmentFormat(**(SMALL | segment)))

    return register


@pytest.fixture
def camera(new_camera: Callable[..., PlainCamera]) -> PlainCamera:
    return new_camera()


def frames(count: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray]:
    rows, columns = np.mgrid[0:height, 0:width]
    return [
        np.stack([rows % 256, (columns + 7 * i) % 256, (rows + columns) // 2 % 256], axis=-1).astype(np.uint8)
        for i in range(count)
    ]


SEGMENT = encode_segment(frames(), CompressionSetting(0.5, 30), fps=15)
"""What configuration 89 of a camera with `SMALL` segments sends."""
