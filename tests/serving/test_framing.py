"""Working sizes: what reaches a network is the same whatever scale its frame was sent at."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.codec import scaled_size
from configs.ladder import load_ladder
from serving.vss.framing import MULTIPLE, framed, working_size

SIDES = st.integers(32, 4096)
LITE = 640 * 360


@given(SIDES, SIDES)
def test_the_work_is_bounded_and_the_shape_kept(height: int, width: int) -> None:
    rows, columns = working_size(height, width, LITE)
    assert rows % MULTIPLE == columns % MULTIPLE == 0
    assert rows * columns <= LITE + MULTIPLE * (rows + columns)
    exact = (LITE / (height * width)) ** 0.5
    assert abs(rows - height * exact) <= MULTIPLE
    assert abs(columns - width * exact) <= MULTIPLE


@pytest.mark.parametrize("size", [(1280, 720), (960, 720), (854, 480), (640, 360), (480, 360)])
def test_all_scales_of_a_camera_fall_on_one_grid(size: tuple[int, int]) -> None:
    sizes = [scaled_size(*size, scale) for scale in load_ladder().scales]
    assert len({working_size(height, width, LITE) for width, height in sizes}) == 1


def test_without_a_working_size_frames_stay_as_they_are() -> None:
    images = torch.rand(1, 3, 46, 82)
    assert framed(images, None) is images


def test_whole_pixels_are_averaged() -> None:
    images = torch.rand(2, 3, 720, 1280)
    torch.testing.assert_close(framed(images, LITE), F.avg_pool2d(images, 2))
    large = torch.rand(1, 3, 1080, 1920)
    torch.testing.assert_close(framed(large, LITE), F.avg_pool2d(large, 3))
    assert framed(images[..., :360, :640], LITE).shape == (2, 3, 360, 640)


@given(
    size=st.sampled_from([(720, 1280), (1080, 1920), (540, 960), (480, 854), (270, 480), (90, 160)]),
    seed=st.integers(0, 9),
    channels_last=st.booleans(),
)
@settings(max_examples=12)
def test_bytes_come_out_as_floats_do_to_one_grey_level(
    size: tuple[int, int], seed: int, channels_last: bool
) -> None:
    pictures = torch.randint(
        256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    if channels_last:
        pictures = pictures.to(memory_format=torch.channels_last)
    found = framed(pictures, LITE)
    assert found.dtype == torch.uint8
    assert float((found.float() - framed(pictures.float(), LITE)).abs().max()) <= 1.01


@pytest.mark.parametrize("size", [(540, 960), (360, 640), (180, 320), (333, 77)])
def test_a_plain_picture_stays_plain(size: tuple[int, int]) -> None:
    images = torch.full((1, 3, *size), 0.25)
    result = framed(images, LITE)
    assert result.shape[-2:] == working_size(*size, LITE)
    torch.testing.assert_close(result, torch.full_like(result, 0.25))
