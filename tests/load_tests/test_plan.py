"""Cells, plans and what they are made of: mixes of the shipped policy, machine types, autoscaled replicas."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configs.bundle import Bundle
from load_tests.simulation.autoscaling import Autoscaler
from load_tests.simulation.calibration import Calibration, CalibrationError, ServedSegment
from load_tests.simulation.cell import (
    Cell,
    CellLoad,
    allotted,
    ingress_nodes_for,
    run_cell,
    variant_weights,
)
from load_tests.simulation.machines import MACHINES, Machines, MachinesError
from load_tests.simulation.mix import ADAPTER, BEST_STATIC, DEAREST, PROFILE, Mix, Track, mixes
from load_tests.simulation.plan import Planner, Promise, Served, needed
from load_tests.simulation.ramp import Ramp, Rule, follow

BUNDLE = Bundle.load()
TYPES = Machines.load()


def calibration() -> Calibration:
    """Made up, but of the right shape: a variant takes half of the one before."""
    alone = tuple(
        ServedSegment(
            scale=scale,
            variant=variant,
            size=100_000,
            decode=0.06 * scale * scale,
            infer=0.6 / 2**variant,
            hop=0.004,
            embed=0.01,
            before=0.008,
            after=0.008,
        )
        for scale in BUNDLE.ladder.scales
        for variant in range(len(BUNDLE.ladder.variants))
    )
    return Calibration(
        processor="made up",
        bundle=BUNDLE.id,
        frame="1280x720, 15 frames",
        cores=2,
        threads=2,
        alone=alone,
        cpu_s={"ingress": 0.008},
        saturated=(),
        capacity=1.8,
    )


def mix_of(variant: int, size: int = 100_000) -> Mix:
    index = BUNDLE.ladder.index(0.75, 26, variant)
    track = Track(bandwidth=0.6, configurations=(index,), sizes=(size,))
    return Mix(policy=f"variant {variant}", tracks=(track,), failure_rate=0.0, cost=0.5)


def cell(machine: str, nodes: int = 1) -> Cell:
    return Cell(BUNDLE, calibration(), TYPES, TYPES.machine(machine), nodes, 2, 16)


def most(machine: str, mix: Mix, nodes: int = 1) -> Served:
    promise = Promise(p95_ms=1500, deadline_s=2)
    planner = Planner(cell(machine, nodes), machine, promise, lambda _: None, seconds=12.0)
    return planner.served(mix)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Mix]:
    return mixes(PROFILE, BUNDLE)


def test_the_shipped_policy_costs_less_than_what_never_adapts(shipped: dict[str, Mix]) -> None:
    adapter, static, dearest = shipped[ADAPTER], shipped[BEST_STATIC], shipped[DEAREST]
    assert adapter.cost < 0.8 * static.cost
    assert adapter.failure_rate < 0.1
    assert dearest.failure_rate > adapter.failure_rate  # much of it is not uploaded in time
    assert set(dearest.shares()) == {0}


def test_a_mix_has_whole_shares(shipped: dict[str, Mix]) -> None:
    for mix in shipped.values():
        assert sum(mix.shares().values()) == pytest.approx(1)
        assert all(len(track.configurations) == len(track.sizes) for track in mix.tracks)


@given(
    weights=st.dictionaries(st.integers(0, 4), st.floats(0.01, 10), min_size=1, max_size=5),
    slots=st.integers(1, 60),
)
def test_slots_go_where_they_are_needed(weights: dict[int, float], slots: int) -> None:
    counts = allotted(weights, slots)
    assert sum(counts.values()) == slots
    if slots >= len(weights):
        assert all(counts[variant] >= 1 for variant in weights)
        whole = sum(weights.values())
        for variant, weight in weights.items():
            assert counts[variant] <= max(1, math.ceil(slots * weight / whole) + 1)


def test_few_cameras_are_answered_in_the_time_that_their_segments_take() -> None:
    mix = mix_of(4)
    built = cell("c7i.2xlarge", 2)
    weights = variant_weights(mix, built.calibration, built.hardware(), BUNDLE)
    load = run_cell(built.platform(weights), mix, 4, 30.0, 3.0)
    served = calibration().by_kind[0.75, 4][0]
    assert load.refused == 0
    assert load.p50_ms == pytest.approx(1e3 * served.latency, rel=0.25)
    assert load.per_s == pytest.approx(4, rel=0.1)


def test_what_does_not_fit_the_uplink_never_reaches_the_platform() -> None:
    mix = mix_of(4, size=700_000)
    load = run_cell(cell("c7i.2xlarge").platform({4: 1.0}), mix, 10, 20.0, 3.0)
    assert load.dropped == 1
    assert load.per_s == 0


def test_twice_the_nodes_serve_twice_the_cameras() -> None:
    small, large = (
        run_cell(cell("c7i.2xlarge", nodes).platform({1: 1.0}), mix_of(1), 4 * nodes, 20.0, 3.0)
        for nodes in (2, 4)
    )
    assert large.per_s == pytest.approx(2 * small.per_s, rel=0.1)
    assert large.p50_ms == pytest.approx(small.p50_ms, rel=0.15)


def test_a_cheaper_variant_is_served_to_more_cameras() -> None:
    dense, pruned = (most("c7i.2xlarge", mix_of(variant)).cameras_a_node for variant in (0, 1))
    assert pruned > 1.4 * dense


def test_on_gpu_nodes_processors_for_decoding_are_what_runs_out() -> None:
    """As measured here: with a decoder twice as fast it would be the GPU."""
    built = Cell(BUNDLE, Calibration.load(), TYPES, TYPES.machine("g6.2xlarge"), 1, 2, 16)
    platform = built.platform({1: 1.0})
    load = run_cell(platform, mix_of(1), 40, 10.0, 3.0)
    node = platform.variants[1].replicas[0].node
    assert node.gpu is not None
    assert load.refused == 0
    assert node.gpu.busy / node.gpu.capacity < node.processors.busy / node.processors.capacity


def test_a_machine_that_is_too_slow_for_the_promise_is_told_so() -> None:
    planner = Planner(cell("c7i.2xlarge"), "c7i.2xlarge", Promise(p95_ms=50, deadline_s=3), lambda _: None)
    with pytest.raises(ValueError, match="--p95"):
        planner.served(mix_of(0))


@given(cameras=st.integers(1, 10**7), a_node=st.floats(0.5, 500))
def test_a_larger_fleet_never_needs_less_and_following_the_day_never_costs_more(
    cameras: int, a_node: float
) -> None:
    at = CellLoad(cameras=1, p50_ms=1, p95_ms=1, refused=0, dropped=0, per_s=1)
    served = Served(machine="g6.2xlarge", policy="any", cameras_a_node=a_node, at=at, failure_rate=0, cost=1)
    small, large = needed(served, TYPES, ingress_nodes_for(1000, calibration()), (cameras, cameras + 1))
    assert small.variant_nodes <= large.variant_nodes
    assert small.month <= large.month
    for need in (small, large):
        assert need.month_following <= need.month * (1 + 1e-12)
        assert need.variant_nodes * a_node >= need.cameras * (1 - 1e-9)


def test_machines_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    content = yaml.safe_load(MACHINES.read_text(encoding="utf-8"))
    path = tmp_path / "machines.yaml"
    path.write_text(yaml.safe_dump({**content, "ingress": "abacus"}))
    with pytest.raises(MachinesError, match="abacus"):
        Machines.load(path)
    with pytest.raises(MachinesError, match="abacus"):
        TYPES.machine("abacus")
    with pytest.raises(MachinesError, match="cannot be read"):
        Machines.load(tmp_path / "nowhere.yaml")


def test_a_calibration_that_is_not_there_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="calibrate"):
        Calibration.load(tmp_path / "nowhere.json")
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{}")
    with pytest.raises(CalibrationError, match="no calibration"):
        Calibration.load(damaged)


def test_decoding_takes_longer_the_larger_a_segment_is_where_that_was_seen() -> None:
    found = calibration()
    alone = [one.model_copy(update={"size": 100_000}) for one in found.alone]
    alone += [one.model_copy(update={"size": 300_000, "decode": one.decode * 2}) for one in found.alone]
    fitted = found.model_copy(update={"alone": tuple(alone)})
    assert fitted.decode_s(1.0, 200_000) == pytest.approx(0.09)
    assert fitted.decode_s(1.0, 300_000) == pytest.approx(0.12)
    assert found.decode_s(1.0, 10**6) == pytest.approx(0.06)  # one size says nothing of others


SHORT = Ramp(low=0.2, quiet_s=20, rise_s=30, hold_s=60, after_s=10)


def test_replicas_and_nodes_come_with_the_load() -> None:
    quick = TYPES.model_copy(update={"start": TYPES.start.model_copy(update={"node_s": 10, "replica_s": 2})})
    built = Cell(BUNDLE, calibration(), quick, quick.machine("c7i.2xlarge"), 1, 2, 16)
    rule = Rule(target_ongoing=1, lanes=16, upscale_delay_s=4, downscale_delay_s=20)
    found = follow(built, mix_of(2), rule, SHORT, 60, 6, 2.0)
    assert 2 < found.most_nodes <= 6
    assert found.node_hours < 6 * SHORT.whole_s / 3600
    still = follow(built, mix_of(2), rule, SHORT, 60, 2, 2.0)
    assert still.most_nodes == 2
    assert still.refused > found.refused


def test_a_ramp_rises_stays_and_falls() -> None:
    assert SHORT.share(0) == SHORT.share(SHORT.whole_s) == pytest.approx(0.2)
    assert SHORT.share(20 + 15) == pytest.approx(0.6)
    assert SHORT.share(20 + 30 + 30) == pytest.approx(1.0)


def test_no_more_nodes_are_asked_for_than_are_allowed() -> None:
    built = cell("c7i.2xlarge")
    platform = built.empty()
    platform.rng = random.Random(0)
    config = Rule(target_ongoing=1, lanes=16).config(40)
    scaler = Autoscaler(platform, built, config, TYPES.start, 2, 3)
    scaler.begin()
    for deployment in platform.variants:
        for _ in range(6):
            platform.env.process(scaler._start(deployment))
    platform.env.run(until=600)
    assert len(scaler.places) == 3
    assert all(place.held <= place.room for place in scaler.places)
