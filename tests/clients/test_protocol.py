"""Label maps survive their packing; damaged ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import BaseModel

from clients.administration import LimitsPatch
from clients.alerts import NewWebhook
from clients.protocol import CameraPatch, LabelMaps, Problem, Registration, SegmentAnswer
from clients.usage import UsageReport

shapes = st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12))


@given(arrays(np.uint8, shapes))
def test_label_maps_survive(maps: np.ndarray) -> None:
    again = LabelMaps.model_validate_json(LabelMaps.pack(maps).model_dump_json()).unpack()
    assert np.array_equal(again, maps)


def test_label_maps_of_another_size_are_refused() -> None:
    packed = LabelMaps.pack(np.ones((2, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="48 bytes"):
        packed.model_copy(update={"frames": 3}).unpack()


@pytest.mark.parametrize(
    "message", [Registration, CameraPatch, SegmentAnswer, Problem, LimitsPatch, UsageReport, NewWebhook]
)
def test_the_examples_in_the_interfaces_description_are_valid(message: type[BaseModel]) -> None:
    (example,) = message.model_json_schema()["examples"]
    message.model_validate(example)
