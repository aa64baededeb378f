"""When a camera that failed is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clients.gateway.restart import STEADY_S, Restarts


def test_waits_double_up_to_a_minute() -> None:
    restarts = Restarts()
    waits = [restarts.after(1.0, lambda: 1.0) for _ in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_who_ran_well_for_a_minute_starts_anew() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.after(1.0, lambda: 1.0)
    assert restarts.after(STEADY_S, lambda: 1.0) == 1


@given(st.lists(st.floats(0, 200), max_size=40), st.floats(0, 1, exclude_max=True))
def test_no_wait_is_none_or_above_a_minute(runs: list[float], chance: float) -> None:
    restarts = Restarts()
    for ran in runs:
        assert 0.5 <= restarts.after(ran, lambda: chance) <= 60
