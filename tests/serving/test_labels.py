"""Label maps are the arg max of upsampled logits, however few of them were upsampled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from serving.vss.labels import label_maps


def by_definition(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False).argmax(1)


@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 2),
    classes=st.integers(2, 24),
    outputs=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
@settings(max_examples=60)
def test_any_size_gives_the_same_labels(
    seed: int, images: int, classes: int, outputs: tuple[int, int], size: tuple[int, int]
) -> None:
    logits = torch.randn(images, classes, *outputs, generator=torch.Generator().manual_seed(seed))
    differing = label_maps(logits, size) != by_definition(logits, size)
    assert differing.sum() <= 1  # rounding may decide where two classes are equal


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_logits_of_any_type_are_compared_in_float32(dtype: torch.dtype) -> None:
    logits = torch.randn(1, 19, 6, 10, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert (label_maps(logits, (96, 160)) != by_definition(logits, (96, 160))).sum() <= 1


def test_where_two_classes_are_equal_the_first_wins() -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1:] = 1
    assert label_maps(logits, (32, 32)).eq(1).all()


@pytest.mark.parametrize("size", [(45, 80), (720, 1280)])
def test_one_class_everywhere_needs_no_upsampling(size: tuple[int, int]) -> None:
    logits = torch.randn(1, 19, 45, 80)
    logits[:, 7] += 100
    labels = label_maps(logits, size)
    assert labels.shape == (1, *size)
    assert labels.dtype == torch.uint8
    assert labels.eq(7).all()
