"""Reading the list of dropped segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.protocol import MAX_DROPPED
from configs.ladder import load_ladder
from serving.ingress.query import parse_dropped
from serving.problems import Invalid

LADDER = load_ladder()


@given(drops=st.dictionaries(st.integers(0, 999), st.integers(0, 89), max_size=30))
def test_what_was_written_is_read_in_rising_order(drops: dict[int, int]) -> None:
    text = ",".join(f"{seq}:{configuration}" for seq, configuration in drops.items())
    assert parse_dropped(text, 1000, LADDER) == tuple(sorted(drops.items()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7:1", "not below"),
        ("3:90", "not on the ladder"),
        ("3:1,3:2", "named twice"),
        (",".join(f"{i}:0" for i in range(MAX_DROPPED + 1)), "At most"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        parse_dropped(text, 7 if "7" in text else 100_000, LADDER)
