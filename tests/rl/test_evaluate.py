"""mIoU from one confusion matrix, and predictions at the labels' size."""

from __future__ import annotations

import numpy as np
import pytest

from rl.processor import describe_processor
from rl.vss.batches import TrainingData
from rl.vss.evaluate import camvid_miou, confusion, mean_iou, predict
from serving.vss.architecture import Architecture
from serving.vss.pspnet import PSPNet


def test_iou_of_a_case_counted_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1, 9]], np.uint8)
    found = np.array([[0, 1, 1, 7, 0]], np.uint8)  # 7 is no class; the last pixel is void in the truth
    counts = confusion([(truth, found)], classes=3)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert mean_iou(counts) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_the_matrix_is_global_over_images() -> None:
    pairs = [
        (np.array([[0]], np.uint8), np.array([[0]], np.uint8)),
        (np.full((1, 3), 0, np.uint8), np.ones((1, 3), np.uint8)),
    ]
    assert mean_iou(confusion(pairs, classes=2)) == pytest.approx(1 / 4)


def test_predictions_have_the_asked_shape(tiny: Architecture) -> None:
    labels = predict(PSPNet(tiny).eval(), np.zeros((36, 48, 3), np.uint8), (96, 64), (36, 48))
    assert labels.shape == (36, 48)
    assert labels.dtype == np.uint8


def test_camvid_miou_is_a_share(tiny: Architecture, made_up_data: TrainingData) -> None:
    assert 0 <= camvid_miou(PSPNet(tiny), made_up_data.streets[:1]) <= 1


def test_the_processor_is_named_with_its_threads() -> None:
    assert "threads" in describe_processor()
