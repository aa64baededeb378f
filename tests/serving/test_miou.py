"""The mIoU of a segment against the definition, written out pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.miou import LabelMap, Overlap, class_iou, counted_classes, frame_miou, overlap, segment_miou

CLASSES = 5
maps = arrays(np.uint8, (6, 8), elements=st.integers(0, CLASSES - 1))


def by_definition(reference: LabelMap, prediction: LabelMap, least_share: float) -> float:
    ious = []
    for index in range(CLASSES):
        mine, theirs = reference == index, prediction == index
        if mine.any() and mine.mean() >= least_share:
            ious.append((mine & theirs).sum() / (mine | theirs).sum())
    return float(np.mean(ious))


@given(reference=maps, prediction=maps, least_share=st.sampled_from([0.0, 0.001, 0.05, 0.2]))
def test_a_frame_is_as_the_definition_says(
    reference: LabelMap, prediction: LabelMap, least_share: float
) -> None:
    found = frame_miou(overlap(reference, prediction, CLASSES), least_share)
    assert float(found) == pytest.approx(by_definition(reference, prediction, least_share))
    assert 0 <= found <= 1


@given(reference=maps)
def test_a_map_agrees_with_itself(reference: LabelMap) -> None:
    assert frame_miou(overlap(reference, reference, CLASSES)) == 1


@given(reference=maps, prediction=maps, order=st.permutations(range(CLASSES)))
def test_the_names_of_classes_do_not_matter(
    reference: LabelMap, prediction: LabelMap, order: list[int]
) -> None:
    renamed = np.array(order, np.uint8)
    assert frame_miou(overlap(reference, prediction, CLASSES)) == pytest.approx(
        float(frame_miou(overlap(renamed[reference], renamed[prediction], CLASSES)))
    )


@given(frames=st.lists(st.tuples(maps, maps), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_segment_is_the_mean_of_its_frames(frames: list[tuple[LabelMap, LabelMap]]) -> None:
    counts = [overlap(*pair, CLASSES) for pair in frames]
    together = Overlap(
        np.array([c.reference for c in counts]),
        np.array([c.predicted for c in counts]),
        np.array([c.shared for c in counts]),
    )
    assert float(segment_miou(together)) == pytest.approx(np.mean([frame_miou(c) for c in counts]))


def test_a_handful_of_stray_pixels_does_not_count() -> None:
    reference = np.zeros((100, 100), np.uint8)
    reference[0, :9] = 3
    counts = overlap(reference, np.zeros_like(reference), CLASSES)
    assert frame_miou(counts) == pytest.approx(0.9991)
    assert frame_miou(counts, 0.0) == pytest.approx(0.9991 / 2)
    reference[0, 9] = 3  # exactly the share
    assert counted_classes(overlap(reference, reference, CLASSES).reference).tolist() == [1, 0, 0, 1, 0]


def test_classes_in_neither_map_have_no_iou() -> None:
    zeros, ones = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    iou = class_iou(overlap(zeros, ones, 3))
    assert iou[:2].tolist() == [0, 0]
    assert np.isnan(iou[2])


def test_what_is_no_pair_of_label_maps_is_refused() -> None:
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="sizes differ"):
        overlap(zeros, zeros[:1], 2)
    for foreign in (2, 3, 255):
        with pytest.raises(ValueError, match="none of 2 classes"):
            overlap(zeros + np.uint8(foreign), zeros, 2)
    with pytest.raises(ValueError, match="share"):
        counted_classes(np.array([1, 1]), 0.6)
