"""What the application exports for Prometheus is what the alerts and the dashboard in k8s/ ask for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import promql_parser
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

from load_tests.application import RunningApplication
from tests.application.conftest import SEGMENT, PlainCamera
from tests.k8s.monitoring import dashboard_expressions, records, rules, selectors

EXPORT_S = 40.0
"""Ray's processes report every ten seconds, Serve's controller about as often."""

Series = dict[str, list[dict[str, str]]]


def exported(application: RunningApplication) -> Series:
    """Labels of all series by name, from every address that this application's Ray is scraped at."""
    command = next(
        process.cmdline()
        for process in psutil.Process(application.pid).children(recursive=True)
        if process.name() == "raylet"
    )
    session = next(Path(word.partition("=")[2]) for word in command if word.startswith("--session_dir="))
    targets = json.loads((session / "prom_metrics_service_discovery.json").read_text(encoding="utf-8"))
    found: Series = {}
    for address in targets[0]["targets"]:
        for family in text_string_to_metric_families(httpx.get(f"http://{address}/metrics", timeout=30).text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.fixture(scope="module")
def series(application: RunningApplication, new_camera: Callable[..., PlainCamera]) -> Series:
    """What is there after a segment was answered; waits for Ray's reports, which come from each process in
    its own time, until nothing is missing."""
    assert new_camera().put(0, SEGMENT).status_code == httpx.codes.OK
    until = time.monotonic() + EXPORT_S
    while time.monotonic() < until and (not answered(found := exported(application)) or missing(found)):
        time.sleep(2)
    assert answered(found), f"no answered segment in the metrics after {EXPORT_S:g} s"
    return found


def answered(found: Series) -> bool:
    return any(labels.get("method") == "PUT" for labels in found.get("ray_serve_num_http_requests_total", []))


def asked() -> Iterator[promql_parser.VectorSelector]:
    for expression in [*(rule["expr"] for rule in rules()), *dashboard_expressions()]:
        yield from selectors(promql_parser.parse(expression))


def fits(matcher: promql_parser.Matcher, labels: dict[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    match matcher.op:
        case promql_parser.MatchOp.Equal:
            return value == matcher.value
        case promql_parser.MatchOp.Re:
            return re.fullmatch(matcher.value, value) is not None
    raise NotImplementedError(f"{matcher.op}")


def missing(found: Series) -> set[str]:
    """Series that rules or dashboard ask for and nobody has exported; of GPUs there may be none."""
    of_gpus = {f"ray_{name}" for name in METRICS_GAUGES if "gpu" in name or "gram" in name}
    return {selector.name for selector in asked()} - set(found) - records() - of_gpus


def test_every_series_that_is_asked_for_is_exported(series: Series) -> None:
    assert missing(series) == set()


def test_every_label_that_is_asked_for_is_there(series: Series) -> None:
    """Each selector finds something, failures apart: of those there should be none."""
    for selector in asked():
        matchers = [m for m in selector.matchers.matchers if m.value != "5.."]
        if selector.name in series:
            assert any(all(fits(m, labels) for m in matchers) for labels in series[selector.name]), str(
                selector
            )
