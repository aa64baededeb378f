"""Soft labels: never against a true label, made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rl.vss.datasets import IGNORE, LabelledImage, target_sets
from rl.vss.loss import soft_cross_entropy
from rl.vss.soft_labels import COLUMNS, soft_label, with_soft_labels
from serving.vss.architecture import Architecture
from serving.vss.pspnet import PSPNet


@pytest.fixture(scope="module")
def teacher(tiny: Architecture) -> PSPNet:
    torch.manual_seed(0)
    return PSPNet(tiny)


@pytest.fixture
def example() -> LabelledImage:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 120, 3), np.uint8)
    target = rng.choice(np.array([*range(19, 30), IGNORE], np.uint8), (90, 120))
    return LabelledImage("a_0", image, target)


def test_soft_labels_agree_with_every_true_label(teacher: PSPNet, example: LabelledImage) -> None:
    soft = soft_label(teacher.eval(), example)
    assert soft.shape == (19, 180, COLUMNS)
    rows = (np.arange(180) + 0.5) * 90 / 180
    columns = (np.arange(COLUMNS) + 0.5) * 120 / COLUMNS
    nearest = example.target[rows.astype(int)][:, columns.astype(int)]
    allowed = target_sets().numpy()[np.where(nearest == IGNORE, 0, nearest)].transpose(2, 0, 1) > 0
    assert not soft[:, nearest != IGNORE][~allowed[:, nearest != IGNORE]].any()
    assert (abs(soft[:, nearest == IGNORE].astype(int).sum(0) - 255) < 12).all()


def test_soft_labels_are_made_once(teacher: PSPNet, example: LabelledImage, tmp_path: Path) -> None:
    first = with_soft_labels([example], teacher, tmp_path, "soft")
    changed = replace(example, image=np.zeros_like(example.image))
    again = with_soft_labels([changed], teacher, tmp_path, "soft")
    assert first[0].soft is not None
    assert np.array_equal(first[0].soft, again[0].soft)  # type: ignore[arg-type]


def test_soft_cross_entropy_is_cross_entropy_for_certain_labels() -> None:
    logits = torch.randn(2, 19, 4, 6)
    labels = torch.randint(0, 19, (2, 4, 6))
    certain = torch.nn.functional.one_hot(labels, 19).permute(0, 3, 1, 2).byte() * 255
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(soft_cross_entropy(logits, certain, torch.ones(19)), expected)
    nothing = torch.zeros_like(certain)
    assert soft_cross_entropy(logits, nothing, torch.ones(19)) == 0
