"""Round-robin covers the ladder well spread; policies are read from text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.policy import Choice, FixedPolicy, Observation, RoundRobinPolicy, parse_policy
from configs.ladder import Ladder, VariantSpec, load_ladder

LADDER = load_ladder()
NOTHING = Observation(0.65, None, None, None)


def choices(ladder: Ladder, count: int) -> list[int]:
    policy = RoundRobinPolicy(ladder.configurations)
    return [policy.choose(NOTHING).configuration for _ in range(count)]


def test_twenty_segments_see_all_variants_and_scales_several_times() -> None:
    chosen = [LADDER[i] for i in choices(LADDER, 20)]
    variants, scales = [c.variant for c in chosen], [c.scale for c in chosen]
    assert min(variants.count(v) for v in range(5)) >= 3
    assert min(scales.count(s) for s in LADDER.scales) >= 5
    assert {c.qp for c in chosen} == set(LADDER.qps)
    assert all(a != b for a, b in itertools.pairwise(variants))


@given(st.integers(1, 5), st.integers(1, 7), st.integers(2, 9))
def test_one_round_takes_every_configuration_once(scales: int, qps: int, variants: int) -> None:
    ladder = Ladder(
        scales=tuple(1.0 - 0.1 * k for k in range(scales)),
        qps=tuple(range(20, 20 + qps)),
        variants=tuple(VariantSpec(name=str(k), sparsity=0.1 * k) for k in range(variants)),
    )
    assert sorted(choices(ladder, len(ladder))) == list(range(len(ladder)))


def test_it_is_deterministic() -> None:
    assert choices(LADDER, 200) == choices(LADDER, 200)


@pytest.mark.parametrize(
    ("text", "index"), [("fixed:0", 0), ("fixed:89", 89), ("fixed:1.0/20/0", 0), ("fixed:0.5/30/4", 89)]
)
def test_fixed_policies_are_read(text: str, index: int) -> None:
    policy = parse_policy(text)(LADDER.configurations)
    assert isinstance(policy, FixedPolicy)
    assert policy.choose(NOTHING) == Choice(index, probability=1.0)


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "fixed:x", "fixed:1/2", "fixed:1/a/0", "round-robin:3", "best"]
)
def test_what_is_no_policy_is_refused_at_once(text: str) -> None:
    with pytest.raises(
        ValueError,
        match="give auto, adapter, adapter:BUNDLE, round-robin, fixed:INDEX or fixed:SCALE/QP/VARIANT",
    ):
        parse_policy(text)


@pytest.mark.parametrize("text", ["fixed:90", "fixed:-1", "fixed:1.0/21/0"])
def test_what_is_not_on_the_ladder_is_refused_with_the_choices(text: str) -> None:
    with pytest.raises(ValueError, match="not on the ladder"):
        parse_policy(text)(LADDER.configurations)
