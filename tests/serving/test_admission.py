"""Admission is a pure decision: what cannot be answered in time is refused at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.ingress.admission import QUEUE_LIMIT, VariantLoad

seconds = st.floats(0.001, 10)


def test_nothing_is_known_yet_so_the_first_segment_is_admitted() -> None:
    assert VariantLoad().admit(3, remaining_s=0.01).admitted


@given(service=seconds, remaining=seconds)
def test_an_idle_variant_is_judged_by_its_own_service_time(service: float, remaining: float) -> None:
    load = VariantLoad()
    load.observe(3, service)
    assert load.admit(3, remaining).admitted == (service <= remaining)


@given(service=seconds, waiting=st.integers(0, QUEUE_LIMIT - 1))
def test_those_who_wait_come_first(service: float, waiting: int) -> None:
    load = VariantLoad(waiting=waiting)
    load.observe(3, service)
    assert abs(load.admit(3, 1e9).expected_s - service * (waiting + 1)) < 1e-6


def test_a_full_queue_refuses_whatever_the_deadline() -> None:
    load = VariantLoad(waiting=QUEUE_LIMIT)
    refusal = load.admit(3, 1e9)
    assert not refusal.admitted
    assert refusal.retry_after_s > 0


@given(services=st.lists(seconds, min_size=1, max_size=20))
def test_a_service_time_follows_what_is_observed(services: list[float]) -> None:
    load = VariantLoad()
    for service in services:
        load.observe(3, service)
    assert min(services) * 0.999 <= load.service_s[3] <= max(services) * 1.001
