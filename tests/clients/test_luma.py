"""What the bitrate estimator looks at: half-size luma, whatever the video's shape and length."""

from __future__ import annotations

import av
import numpy as np
import pytest

from clients.luma import BLANK, INPUT_SIZE, fill_places, half_luma, picture_change


def picture(width: int, height: int, grey: int = 90) -> av.VideoFrame:
    pixels = np.full((height, width, 3), grey, np.uint8)
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format="yuv420p")


def test_each_value_is_the_mean_of_four_pixels() -> None:
    frame = picture(1280, 720)
    plane = np.random.default_rng(0).integers(0, 256, (720, 1280)).astype(np.uint8)
    frame.planes[0].update(plane)
    mean = plane.reshape(360, 2, 640, 2).mean((1, 3))
    assert np.abs(half_luma([frame])[0] - mean).max() <= 0.5


def test_narrow_video_lies_in_the_middle() -> None:
    luma = half_luma([picture(960, 720)])[0]
    assert luma.shape == INPUT_SIZE
    assert (luma[:, :80] == BLANK).all()
    assert (luma[:, 560:] == BLANK).all()
    assert (luma[:, 80:560] == luma[0, 80]).all()
    assert luma[0, 80] != BLANK


def test_rgb_pictures_look_as_their_yuv_does() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (72, 128, 3)).astype(np.uint8)
    yuv = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
    np.testing.assert_array_equal(half_luma([rgb]), half_luma([yuv]))


def test_missing_frames_stand_still() -> None:
    luma = half_luma([picture(1280, 720, grey) for grey in (20, 200)])
    filled = fill_places(luma, 5)
    np.testing.assert_array_equal(filled[:2], luma)
    assert (filled[2:] == luma[1]).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1280x720"):
        half_luma([picture(1920, 1080)])
    luma = half_luma([picture(1280, 720)] * 3)
    with pytest.raises(ValueError, match="1 to 2 frames, the segment has 3"):
        fill_places(luma, 2)


def test_a_picture_changes_when_it_moves_not_when_its_light_does() -> None:
    street = np.random.default_rng(2).integers(20, 200, (90, 160)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    assert picture_change(street, street) == pytest.approx(0, abs=1e-6)
    assert picture_change(street, street + np.uint8(30)) == pytest.approx(0, abs=1e-6)
    assert picture_change(street, np.roll(street, 40, axis=1)) > 0.9
    passing = street.copy()
    passing[:, 160:320] = np.roll(street, 40, axis=1)[:, 160:320]
    assert 0.15 < picture_change(street, passing) < 0.35
    grey = np.full_like(street, 128)
    assert picture_change(grey, grey) == 0
