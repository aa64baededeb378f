"""Many nodes: the application on a real Ray cluster of six, of which one is drained and two are killed."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from configs.bundle import Bundle
from load_tests.chaos.nodes import (
    INGRESS_NODES,
    SCALED,
    VARIANT_NODES,
    NodesReport,
    Trial,
    cluster_application,
    print_nodes,
)

CAMERAS, SEGMENTS = 8, 60

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def report(bundle: Path) -> NodesReport:
    folder = Path(tempfile.mkdtemp(prefix="pn-n-"))
    try:
        with cluster_application(folder, bundle) as (cluster, application):
            found = Trial(cluster, application, Bundle.load(bundle), CAMERAS, SEGMENTS, print).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print_nodes(found, Console())
    return found


def test_replicas_land_where_their_resources_are(report: NodesReport) -> None:
    placed = {name: Counter(replicas) for name, replicas in report.placed.items()}
    assert sum((placed[name] for name in INGRESS_NODES), Counter()) == {"ingress": 2}
    assert all(placed[name]["ingress"] == 1 for name in INGRESS_NODES)
    variants = sum((placed[name] for name in VARIANT_NODES), Counter[str]())
    assert variants == {"encoder": 2} | {f"variant-{number}": 1 for number in range(5)}
    assert not placed["head"]


def test_a_node_that_is_drained_costs_no_camera_an_answer(report: NodesReport) -> None:
    drained = report.disturbances[0]
    assert drained.refused == {}
    assert drained.longest_gap_s < 30


def test_replicas_follow_the_load_up_and_down(report: NodesReport) -> None:
    assert report.scaled_up_s < float("inf"), f"{SCALED} got no second replica"
    assert report.scaled_down_s < float("inf"), f"{SCALED} kept its second replica"


def test_nothing_is_lost_or_counted_twice_when_nodes_are_drained_and_killed(report: NodesReport) -> None:
    assert report.differences == []
    assert [one.what.split()[0] for one in report.disturbances] == ["drained", "killed", "killed"]


def test_every_camera_is_answered_again_and_every_replica_is_replaced(report: NodesReport) -> None:
    for one in report.disturbances:
        # calls to a node that vanished seem to hang for as long as an answer may take, 120 s
        assert max(one.recovered_s, one.longest_gap_s) < 180, one
        assert one.replaced_s < float("inf"), one
