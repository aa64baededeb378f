"""What is sent to the application and the simulation is the same; stages add up to what cameras see."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.bundle import Bundle
from load_tests.benchmarks.traffic import Sent
from load_tests.simulation.measuring import served_segment
from load_tests.simulation.validation import load_of, schedule

RUNG = Bundle.load().ladder[0]
ms = st.floats(0, 1000)


@given(rate=st.floats(0.2, 20), seconds=st.floats(10, 100))
def test_a_schedule_is_even_and_no_camera_sends_more_than_one_segment_in_its_length(
    rate: float, seconds: float
) -> None:
    found = schedule({0: 0.4, 1: 0.6}, {0: [10], 1: [20, 30]}, rate, seconds, 1.0)
    assert len(found) == int(rate * seconds)
    for earlier, later in itertools.pairwise(found):
        assert later.at - earlier.at == pytest.approx(1 / rate)
    by_camera: dict[str, list[float]] = {}
    for one in found:
        by_camera.setdefault(one.camera, []).append(one.at)
    gaps = [b - a for times in by_camera.values() for a, b in itertools.pairwise(times)]
    assert min(gaps, default=1.0) >= 1.0 - 1e-9


@given(stages=st.tuples(ms, ms, ms, ms, ms, ms), more=ms, outside=ms)
def test_the_stages_of_a_segment_add_up_to_its_latency(
    stages: tuple[float, ...], more: float, outside: float
) -> None:
    names = ("receive", "queue", "decode", "infer", "embed", "state")
    timings = dict(zip(names, stages, strict=True)) | {"total": sum(stages) + more}
    latency = (sum(stages) + more + outside) / 1e3
    served = served_segment(RUNG, 1000, latency, timings)
    assert served.latency == pytest.approx(latency)


def test_what_real_cameras_wrote_down_is_counted_as_the_simulation_counts() -> None:
    journal = [Sent(due=t, sent=t, ended=t + 0.5, status=200 if t % 2 else 503) for t in range(10)]
    load = load_of([journal], 0.0, 10.0)
    assert load.offered_per_s == pytest.approx(1.0)
    assert load.goodput_per_s == pytest.approx(0.5)
    assert load.lost == pytest.approx(0.5)
    assert load.p95_ms == pytest.approx(500)
