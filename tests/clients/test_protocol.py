"""Label maps survive their packing; damaged ones are refused."""

from __future__ import annotations

import base64
import zlib

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
    packed = LabelMaps.pack(np.arange(32, dtype=np.uint8).reshape(2, 4, 4))
    with pytest.raises(ValueError, match="16 bytes"):
        packed.model_copy(update={"frames": 1}).unpack()
    for data in (b"123456", bytes(4) + b"1"):
        torn = base64.b64encode(zlib.compress(data)).decode()
        with pytest.raises(ValueError, match="16 bytes"):
            packed.model_copy(update={"frames": 1, "data": torn}).unpack()


def test_label_maps_of_older_servers_are_read() -> None:
    maps = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    changes = maps.copy()
    changes[1:] ^= maps[:-1]
    data = base64.b64encode(zlib.compress(changes.tobytes())).decode()
    assert np.array_equal(LabelMaps(frames=2, height=4, width=4, data=data).unpack(), maps)


@pytest.mark.parametrize(
    "message", [Registration, CameraPatch, SegmentAnswer, Problem, LimitsPatch, UsageReport, NewWebhook]
)
def test_the_examples_in_the_interfaces_description_are_valid(message: type[BaseModel]) -> None:
    (example,) = message.model_json_schema()["examples"]
    message.model_validate(example)
