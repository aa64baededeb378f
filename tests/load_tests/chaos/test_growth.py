"""What counts as growth of something that is measured again and again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load_tests.chaos.growth import Sample, grows, growth
from load_tests.chaos.soak import Soak, faults, summary

noise = st.lists(st.floats(-1, 1), min_size=20, max_size=60)


def samples(values: list[float], step: float = 10.0) -> list[Sample]:
    return [Sample(step * i, value) for i, value in enumerate(values)]


@given(noise, st.floats(200, 5000))
def test_noise_is_no_growth(wobble: list[float], level: float) -> None:
    found = growth(samples([level + w for w in wobble]), 0)
    assert found is not None
    assert not grows(found, 0.05, 1.0)


@given(noise, st.floats(1, 50))
def test_a_steady_leak_is_growth_and_its_rate_is_known(wobble: list[float], a_minute: float) -> None:
    values = [100 + a_minute * i / 6 + w / 100 for i, w in enumerate(wobble)]
    found = growth(samples(values), 0)
    assert found is not None
    assert found.per_hour == pytest.approx(60 * a_minute, rel=0.2)
    assert found.last > found.first


def test_what_happens_in_the_warm_up_does_not_count() -> None:
    found = growth(samples([10.0 * i for i in range(10)] + [100.0] * 30), warm_up_s=100)
    assert found is not None
    assert found.share == 0
    assert growth(samples([1.0] * 30), warm_up_s=280) is None


def test_one_outlier_moves_neither_medians_nor_slope() -> None:
    values = [100.0] * 40
    values[20] = 10_000.0
    found = growth(samples(values), 0)
    assert found is not None
    assert (found.first, found.last, found.per_hour) == (100, 100, 0)


def test_what_falls_but_for_its_last_samples_is_no_leak() -> None:
    fallen = growth(samples([100.0 - i for i in range(30)] + [110.0 - i / 10 for i in range(10)]), 0)
    assert fallen is not None
    assert not grows(fallen, 0.05, 1.0)


@pytest.mark.parametrize(
    ("name", "first", "last", "told"),
    [
        ("memory of ingress, MB", 600, 640, True),
        ("memory of ingress, MB", 600, 615, False),  # within 5 %
        ("memory of haproxy, MB", 20, 30, False),  # by less than 20 MB
        ("descriptors of ingress", 100, 115, True),
        ("threads of ingress", 100, 106, False),
        ("database on disk, MB", 10, 90, False),  # until it is rewritten
    ],
)
def test_a_soak_tells_what_grew(name: str, first: float, last: float, told: bool) -> None:
    soak = Soak()
    for i in range(40):
        soak.take(10.0 * i, {name: first + (last - first) * min(1.0, i / 30)})
    assert bool(faults(soak, 0)) is told
    assert summary(soak, 0)["growth"][name]["last"] == last


def test_a_soak_that_was_too_short_or_whose_load_broke_proves_nothing() -> None:
    soak = Soak(seconds=60)
    soak.take(10.0, {"memory of ingress, MB": 600})
    assert [line for line in faults(soak, 200) if "nothing can be said" in line]
    for i in range(40):
        soak.take(10.0 * i, {"memory of ingress, MB": 600})
    assert faults(soak, 0) == []
    soak.broken = ["OSError()"]
    assert faults(soak, 0) == ["a camera of the load broke: OSError()"]
