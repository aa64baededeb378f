"""Optimal against brute force, and what follows from its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.profiles.choice import Known, adaptation, best_static, optimal, shares

SETTINGS, VARIANTS = 4, 3


@st.composite
def known_segments(draw: st.DrawFn) -> Known:
    """Few distinct values, so that ties of every kind come up."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    segments = draw(st.integers(1, 5))
    return Known.of(
        rng.integers(1, 6, (segments, SETTINGS)) * 200_000,
        rng.integers(0, 6, (segments, SETTINGS * VARIANTS)) / 5,
        rng.integers(1, 5, SETTINGS * VARIANTS) / 4,
    )


targets, bandwidths = st.sampled_from([0.0, 0.4, 0.65, 1.0]), st.sampled_from([0.1, 0.4, 0.6, 1.0])


def brute_force(known: Known, segment: int, target: float, bandwidth: float) -> int:
    every = range(len(known.costs))
    size, miou, cost = known.bytes[segment], known.miou[segment], known.costs
    within = [c for c in every if size[c] <= bandwidth * 1e6]
    solving = [c for c in within if miou[c] >= target]
    if solving:
        return min(solving, key=lambda c: (cost[c], -miou[c], c))
    if within:
        return min(within, key=lambda c: (-miou[c], cost[c], c))
    return min(every, key=lambda c: (size[c], cost[c], c))


@given(known=known_segments(), target=targets, bandwidth=bandwidths)
def test_optimal_is_what_brute_force_finds(known: Known, target: float, bandwidth: float) -> None:
    expected = [brute_force(known, segment, target, bandwidth) for segment in range(len(known.miou))]
    assert optimal(known, target, bandwidth).tolist() == expected


@given(known=known_segments(), target=targets, bandwidth=bandwidths)
def test_optimal_never_costs_more_than_what_also_meets_both(
    known: Known, target: float, bandwidth: float
) -> None:
    failed = known.fails(target, bandwidth)
    for segment, choice in enumerate(optimal(known, target, bandwidth)):
        good = ~failed[segment]
        if good.any():
            assert good[choice]
            assert known.costs[choice] == known.costs[good].min()


@given(known=known_segments(), target=targets, bandwidth=bandwidths)
def test_no_single_configuration_fails_less_than_optimal(
    known: Known, target: float, bandwidth: float
) -> None:
    found = adaptation(known, target, bandwidth)
    assert found.failure <= found.static_failure
    assert known.costs[found.static] <= found.cost + 1e-9
    assert found.binds_cost <= found.binds
    assert found.failure == pytest.approx(known.fails(target, bandwidth).all(1).mean())


@given(known=known_segments(), target=targets)
def test_unlimited_bandwidth_never_binds(known: Known, target: float) -> None:
    assert adaptation(known, target, 1e9).binds == 0


def test_each_of_several_bytes_stands_for_all_variants() -> None:
    known = Known.of(np.array([[300_000, 100_000]]), np.zeros((1, 4)), np.array([1.0, 0.5, 0.5, 0.2]))
    assert known.bytes.tolist() == [[300_000, 300_000, 100_000, 100_000]]
    assert known.fits(0.2).tolist() == [[False, False, True, True]]
    with pytest.raises(ValueError, match="do not belong together"):
        Known.of(np.zeros((1, 3), np.int64), np.zeros((1, 4)), np.ones(4))


def test_a_longer_segment_may_be_larger() -> None:
    known = Known(np.array([[900_000.0]]), np.array([[1.0]]), np.array([1.0]), seconds=2.0)
    assert known.fits(0.45).all()
    assert not known.fits(0.44).any()


def test_the_best_static_configuration_is_one_that_can_be_afforded() -> None:
    known = Known.of(np.zeros((2, 3), np.int64), np.array([[1, 1, 0], [1, 0, 0]]), np.array([1.0, 0.5, 0.1]))
    assert best_static(known, 0.65, 1.0, most=1.0) == (0, 0.0)
    assert best_static(known, 0.65, 1.0, most=0.5) == (1, 0.5)


def test_shares_add_up() -> None:
    assert shares(np.array([2, 2, 0, 1]), 4).tolist() == [0.25, 0.25, 0.5, 0]
