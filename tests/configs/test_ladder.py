"""The ladder: 90 configurations in one documented order."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.ladder import LADDER_FILE, CompressionSetting, Ladder, load_ladder

LADDER = load_ladder()


def test_it_is_the_papers() -> None:
    assert len(LADDER) == 90
    assert LADDER.scales == (1.0, 0.75, 0.5)
    assert LADDER.qps == (20, 22, 24, 26, 28, 30)
    assert [v.sparsity for v in LADDER.variants] == [0.0, 0.5, 0.75, 0.875, 0.9375]


def test_index_0_is_the_most_expensive_and_the_variant_rises_fastest() -> None:
    first, second, last = LADDER[0], LADDER[1], LADDER[89]
    assert (first.scale, first.qp, first.variant) == (1.0, 20, 0)
    assert (second.scale, second.qp, second.variant) == (1.0, 20, 1)
    assert (last.scale, last.qp, last.variant) == (0.5, 30, 4)


def test_settings_are_in_the_order_of_the_configurations() -> None:
    assert len(LADDER.settings) == 18
    assert LADDER.settings[0] == CompressionSetting(1.0, 20)
    for configuration in LADDER.rungs():
        assert LADDER.settings[configuration.index // 5] == configuration.setting


@given(
    variants=st.integers(2, 9),
    scales=st.sets(st.floats(0.1, 0.99), max_size=3),
    qps=st.sets(st.integers(0, 51), min_size=1, max_size=4),
)
def test_any_family_has_every_configuration_once(variants: int, scales: set[float], qps: set[int]) -> None:
    ladder = Ladder.model_validate(
        {
            "scales": [1.0, *sorted(scales, reverse=True)],
            "qps": sorted(qps),
            "variants": [{"name": str(v), "sparsity": v / variants} for v in range(variants)],
        }
    )
    assert len(ladder) == (1 + len(scales)) * len(qps) * variants
    for position, rung in enumerate(ladder.rungs()):
        assert rung.index == position == ladder.index(rung.scale, rung.qp, rung.variant)
        assert ladder.settings[position // variants] == rung.setting


@pytest.mark.parametrize("count", [1, 10])
def test_a_family_has_two_to_nine_variants(count: int) -> None:
    variants = [{"name": str(v), "sparsity": v / count} for v in range(count)]
    with pytest.raises(ValidationError, match=f"2 to 9 variants, found {count}"):
        Ladder.model_validate({"scales": [1.0], "qps": [20], "variants": variants})


@given(st.integers(0, 89))
def test_a_configuration_is_found_by_what_it_is(index: int) -> None:
    configuration = LADDER[index]
    assert LADDER.index(configuration.scale, configuration.qp, configuration.variant) == index


def test_what_is_not_on_it_is_said_so() -> None:
    with pytest.raises(ValueError, match="not on the ladder"):
        LADDER.index(1.0, 21, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"scales": [0.5, 1.0]},
        {"scales": [0.9, 0.5]},
        {"qps": [30, 20]},
        {"qps": [20, 60]},
        {"variants": [{"name": "pruned", "sparsity": 0.5}]},
        {"frames": 15},
    ],
)
def test_a_ladder_that_makes_no_sense_is_refused(change: dict) -> None:
    content = yaml.safe_load(Path(LADDER_FILE).read_text())
    with pytest.raises(ValidationError):
        Ladder.model_validate({**content, **change})
