"""Baselines: each does what its name says, and none beats Optimal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rl.adapter.play import Pair, Results, play
from rl.adapter.policies import (
    BestStatic,
    Cautious,
    CheapestThatFits,
    LaggedOptimal,
    Optimal,
    PeriodicProfiling,
    Policy,
    Random,
    Static,
    fails_least,
)
from rl.adapter.replay import Replay
from rl.profiles.choice import optimal
from tests.rl.adapter.conftest import SEGMENTS, of_split, with_estimates

PAIRS = [Pair(0.65, 0.4), Pair(0.65, 0.8), Pair(0.8, 0.6)]


def results(replay: Replay, policy: Policy) -> Results:
    return Results.of(replay, play(replay, policy, PAIRS), PAIRS)


def everyone(replay: Replay) -> list[Policy]:
    return [
        LaggedOptimal(replay),
        PeriodicProfiling(replay),
        BestStatic(of_split(replay, "train").known),
        CheapestThatFits(replay),
        Static(0),
        Random(90, np.random.default_rng(0)),
    ]


def test_optimal_fails_only_where_nothing_would_do(replay: Replay) -> None:
    found = results(replay, Optimal(replay))
    np.testing.assert_array_equal(found.failed, found.infeasible)
    np.testing.assert_array_equal(found.cost, found.optimal_cost)


def test_nobody_keeps_a_promise_that_optimal_breaks_or_keeps_it_for_less(replay: Replay) -> None:
    for policy in everyone(replay):
        found = results(replay, policy)
        assert found.failed[found.infeasible].all()
        kept = ~found.failed
        assert (found.cost[kept] >= found.optimal_cost[kept]).all()


def test_lagged_optimal_is_optimal_where_nothing_changes(replay: Replay) -> None:
    rows = np.arange(len(replay)) // SEGMENTS * SEGMENTS
    still = replace(replay, known=replay.known.at(rows))
    later = np.arange(len(replay)) % SEGMENTS > 0
    found = play(still, LaggedOptimal(still), PAIRS)
    best = np.stack([optimal(still.known, pair.target, pair.bandwidth) for pair in PAIRS])
    np.testing.assert_array_equal(found[:, later], best[:, later])


def test_lagged_optimal_plays_safe_at_the_start(replay: Replay) -> None:
    starts = replay.runs[:, 0]
    chosen = play(replay, LaggedOptimal(replay, lag=3), PAIRS)[:, np.r_[starts, starts + 2]]
    assert {replay.ladder[index].variant for index in chosen.ravel()} == {0}


def test_periodic_profiling_goes_by_the_last_profile(replay: Replay) -> None:
    half = SEGMENTS // 2
    rows = np.arange(len(replay)) // half * half
    profiled = replace(replay.known, miou=replay.first_frame[rows])
    found = play(replay, PeriodicProfiling(replay), PAIRS)
    for pair, chosen in zip(PAIRS, found, strict=True):
        np.testing.assert_array_equal(chosen, optimal(profiled, pair.target, pair.bandwidth))


def test_the_best_static_configuration_fails_least(replay: Replay) -> None:
    known = replay.known
    rates = known.fails(0.65, 0.6).mean(0)
    best = fails_least(known, 0.65, 0.6)
    assert rates[best] == rates.min()
    assert known.costs[best] == known.costs[rates == rates.min()].min()


def test_the_cheapest_that_fits_is_never_dropped_by_true_estimates(replay: Replay) -> None:
    exact = with_estimates(replay, error=0.0)
    found = results(exact, CheapestThatFits(exact))
    assert not found.dropped.any()
    assert (found.cost == replay.known.costs.min()).all()


def test_a_margin_is_told_but_not_judged(replay: Replay) -> None:
    told = play(replay, Cautious(Optimal(replay), 0.1), [Pair(0.6, 0.6)])
    np.testing.assert_array_equal(told, play(replay, Optimal(replay), [Pair(0.7, 0.6)]))
    assert Results.of(replay, told, [Pair(0.6, 0.6)]).failed.mean() == pytest.approx(
        Results.of(replay, told, [Pair(0.6, 0.6)]).infeasible.mean()
    )
