"""Reading an mp4's references to other files."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clients.codec import encode_segment
from clients.mp4 import names_other_files
from configs.ladder import CompressionSetting
from tests.application.crafted import with_external_reference

SEGMENT = encode_segment([np.zeros((48, 64, 3), np.uint8)] * 3, CompressionSetting(1.0, 30), fps=15)


def test_a_segment_names_no_other_file() -> None:
    assert not names_other_files(SEGMENT)


def test_a_reference_is_seen() -> None:
    assert names_other_files(with_external_reference(SEGMENT, "http://127.0.0.1:1/x.mp4"))


@given(st.binary(max_size=400))
def test_any_bytes_can_be_looked_at(data: bytes) -> None:
    names_other_files(data)


@given(position=st.integers(0, len(SEGMENT) - 1), value=st.integers(0, 255))
def test_damaged_files_can_be_looked_at(position: int, value: int) -> None:
    names_other_files(SEGMENT[:position] + bytes([value]) + SEGMENT[position + 1 :])
