"""Augmented crops: shapes, bounds, determinism."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.vss.augment import TARGET_STRIDE, augment
from rl.vss.datasets import LabelledImage
from rl.vss.recipe import Augmentation

EVERYTHING = Augmentation(rescale_share=1, blur_share=1, h264_share=1, noise_share=1, exposure_share=1)


def _example(height: int, width: int) -> LabelledImage:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    return LabelledImage("x", image, rng.choice(np.array([3, 7, 255], np.uint8), (height // 2, width // 2)))


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(120, 160), (96, 200), (240, 180)]),
    st.sampled_from([(64, 96), (96, 96), (128, 64)]),
)
def test_crops_have_the_size_and_only_known_labels(
    seed: int, source: tuple[int, int], size: tuple[int, int]
) -> None:
    image, clean, target, soft = augment(_example(*source), size, EVERYTHING, np.random.default_rng(seed))
    assert image.shape == clean.shape == (*size, 3)
    assert image.dtype == clean.dtype == np.uint8
    assert target.shape == (size[0] // TARGET_STRIDE, size[1] // TARGET_STRIDE)
    assert set(np.unique(target)) <= {3, 7, 255}
    assert soft.shape == (19, *target.shape)
    assert not soft.any()


def test_the_same_seed_gives_the_same_crop_and_another_seed_another() -> None:
    example = _example(120, 160)
    crops = [augment(example, (64, 96), EVERYTHING, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(crops[0][0], crops[1][0])
    assert np.array_equal(crops[0].target, crops[1].target)
    assert not np.array_equal(crops[0][0], crops[2][0])


def test_image_and_target_stay_aligned() -> None:
    """A picture that is bright exactly where its label is 1 still is after crop, zoom and flip."""
    target = np.zeros((128, 128), np.uint8)
    target[40:100, 20:70] = 1
    soft = np.zeros((19, 64, 64), np.uint8)
    soft[4] = target[::2, ::2] * 255
    example = LabelledImage("x", np.repeat(target[..., None] * np.uint8(255), 3, axis=2), target, soft)
    nothing = {"colour": 0, "exposure_share": 0, "rescale_share": 0, "blur_share": 0}
    plain = Augmentation(**nothing, h264_share=0, noise_share=0)
    for seed in range(8):
        image, clean, labels, soft = augment(example, (96, 96), plain, np.random.default_rng(seed))
        assert np.array_equal(image, clean)
        bright = image[2::TARGET_STRIDE, 2::TARGET_STRIDE, 0] > 127
        assert (bright == (labels == 1)).mean() > 0.95
        assert ((soft[4] > 127) == (labels == 1)).mean() > 0.95


def test_oversampled_crops_are_degraded_before_they_are_averaged_down() -> None:
    """Targets stay at a quarter of the size that was cut."""
    image, clean, target, soft = augment(
        _example(240, 320), (64, 96), EVERYTHING, np.random.default_rng(0), 2
    )
    assert image.shape == clean.shape == (64, 96, 3)
    assert target.shape == soft.shape[1:] == (128 // TARGET_STRIDE, 192 // TARGET_STRIDE)
    assert not np.array_equal(image, clean)


def test_the_clean_crop_is_the_same_picture_as_the_degraded_one() -> None:
    """The same place in the same light: they differ by what scaling, blur, noise and x264 take away."""
    ramp = np.linspace(20, 235, 160).astype(np.uint8)[None].repeat(120, 0)
    example = LabelledImage("x", ramp[..., None].repeat(3, 2), ramp)
    for seed in range(8):
        image, clean, *_ = augment(example, (64, 96), EVERYTHING, np.random.default_rng(seed))
        difference = image.astype(int) - clean
        assert np.abs(difference).mean() > 0.5
        assert np.abs(difference.mean()) < 8


def test_whole_crops_show_the_whole_height() -> None:
    """At zoom 1 a crop of the frame's own shape is the frame, but for aspect and flips."""
    ramp = np.linspace(0, 255, 120).astype(np.uint8)[:, None].repeat(160, 1)
    example = LabelledImage("x", ramp[..., None].repeat(3, 2), ramp)
    nothing = {"colour": 0, "exposure_share": 0, "rescale_share": 0, "blur_share": 0, "aspect": 0}
    whole = Augmentation(**nothing, whole_share=1, h264_share=0, noise_share=0)
    for seed in range(4):
        image = augment(example, (96, 128), whole, np.random.default_rng(seed)).image
        assert image[0].max() < 10
        assert image[-1].min() > 245
