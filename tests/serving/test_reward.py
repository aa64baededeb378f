"""The self-competition reward: what Eq. (7)-(8) say, in both readings of xi, and the averages it is judged
by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.reward import MovingAverages, Segments, reward
from serving.state.averages import Averages

costs = st.floats(0.01, 1.0)
signed = st.floats(-1.0, 1.0)


def one(cost: float, deficit: float, overuse: float) -> Segments:
    return Segments(np.array([cost]), np.array([deficit]), np.array([overuse]))


def before(cost: float, deficit: float, overuse: float) -> MovingAverages:
    return MovingAverages(np.array([cost]), np.array([deficit]), np.array([overuse]))


@given(costs, signed, signed, costs, signed, signed)
def test_violations_punishes_only_what_is_violated_and_no_better_than_before(
    c: float, u: float, o: float, c_ema: float, u_ema: float, o_ema: float
) -> None:
    found = reward(one(c, u, o), before(c_ema, u_ema, o_ema))[0]
    punished = (u > 0 and u >= u_ema) or (o > 0 and o >= o_ema)
    earns = max(u, o, u_ema, o_ema) <= 0
    assert found == (np.sign(c_ema - c) if earns else 0) - punished


@given(costs, signed, signed, costs, signed, signed)
def test_literal_also_punishes_what_holds_by_less_than_before(
    c: float, u: float, o: float, c_ema: float, u_ema: float, o_ema: float
) -> None:
    found = reward(one(c, u, o), before(c_ema, u_ema, o_ema), "literal")[0]
    earns = max(u, o, u_ema, o_ema) <= 0
    assert found == (np.sign(c_ema - c) if earns else 0) - (u >= u_ema or o >= o_ema)
    assert found <= reward(one(c, u, o), before(c_ema, u_ema, o_ema))[0]


@given(costs, signed, signed, signed, signed)
def test_the_first_segment_competes_with_its_own_cost(
    c: float, u: float, o: float, u_ema: float, o_ema: float
) -> None:
    assert reward(one(c, u, o), before(np.nan, u_ema, o_ema))[0] <= 0


def test_whoever_is_cheaper_while_all_constraints_hold_earns_one() -> None:
    assert reward(one(0.2, -0.1, -0.1), before(0.3, -0.1, 0.0)) == [1]
    assert reward(one(0.4, -0.1, -0.1), before(0.3, -0.1, 0.0)) == [-1]


@given(st.lists(st.tuples(costs, signed, signed), min_size=1, max_size=8))
def test_many_cameras_averages_are_those_of_each_one(history: list[tuple[float, float, float]]) -> None:
    many, single = MovingAverages.fresh(1), Averages()
    for cost, deficit, overuse in history:
        many = many.after(one(cost, deficit, overuse))
        single = single.after_segment(0.65, cost, overuse, deficit)
    assert (many.cost[0], many.deficit[0], many.overuse[0]) == pytest.approx(
        (single.cost, single.deficit, single.overuse), abs=1e-12
    )


@given(costs, st.floats(0, 1), st.floats(0.01, 2), st.floats(0, 1), st.floats(0.3, 1))
def test_what_does_not_fit_is_dropped_and_has_accuracy_0(
    cost: float, miou: float, size: float, target: float, budget: float
) -> None:
    arrays = [np.array([value]) for value in (cost, miou, size, target, budget)]
    found = Segments.judged(*arrays)
    assert found.deficit[0] == (target if size > budget else target - miou)
    assert found.overuse[0] == size - budget
