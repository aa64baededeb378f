"""Losses: set-valued cross entropy, distillation, class weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rl.vss.datasets import IGNORE, target_sets
from rl.vss.loss import disagreement, distillation, set_cross_entropy, target_weights
from serving.miou import frame_miou, overlap


def test_one_class_sets_give_weighted_cross_entropy() -> None:
    logits = torch.randn(2, 5, 6, 8, requires_grad=True)
    targets, weights = torch.randint(0, 5, (2, 6, 8)), torch.rand(5) + 0.5
    targets[0, :2] = IGNORE
    expected = F.cross_entropy(logits, targets, weights, ignore_index=IGNORE)
    found = set_cross_entropy(logits, targets, torch.eye(5), weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = [torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (expected, found)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_a_set_is_satisfied_by_any_of_its_classes() -> None:
    sets, weights = target_sets(), torch.ones(30)
    building = torch.full((1, 4, 4), 19 + 1)  # CamVid's building: building or wall
    for member, satisfied in ((2, True), (3, True), (0, False)):
        logits = torch.zeros(1, 19, 4, 4)
        logits[:, member] = 20
        loss = set_cross_entropy(logits, building, sets, weights).item()
        assert (loss < 1e-3) == satisfied


def test_nothing_but_ignored_pixels_costs_nothing() -> None:
    loss = set_cross_entropy(
        torch.randn(1, 19, 8, 8), torch.full((1, 8, 8), IGNORE), target_sets(), torch.ones(30)
    )
    assert loss.item() == 0


def test_distillation_is_zero_only_for_equal_predictions() -> None:
    logits = torch.randn(2, 5, 3, 3)
    assert distillation(logits, logits + 7).item() == pytest.approx(0, abs=1e-6)
    assert distillation(logits, logits.flip(1)).item() > 0


def test_disagreement_is_one_less_the_miou_of_certain_predictions() -> None:
    """The measure of accuracy itself, where every probability is 0 or 1."""
    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(0, 5, (2, 3, 40, 50)).astype(np.uint8)
    reference[0, :1, :1], reference[0][reference[0] == 4] = 4, 3  # under a thousandth: does not count
    expected = [1 - frame_miou(overlap(*pair, 6)) for pair in zip(reference, prediction, strict=True)]
    logits, teacher = (
        F.one_hot(torch.from_numpy(maps).long(), 6).permute(0, 3, 1, 2) * 50.0
        for maps in (prediction, reference)
    )
    assert disagreement(logits, teacher).item() == pytest.approx(np.mean(expected), abs=1e-4)


def test_nothing_disagrees_with_missing_soft_labels() -> None:
    logits = torch.randn(2, 5, 8, 8, requires_grad=True)
    soft = torch.zeros(2, 5, 8, 8, dtype=torch.uint8)
    soft[1, 2] = 255
    loss = disagreement(logits, soft)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1].any()
    assert disagreement(logits, torch.zeros_like(soft)).item() == 0


def test_rare_classes_weigh_more_within_bounds() -> None:
    weights = target_weights(torch.tensor([1e6, 1e4, 1e2, 0]), rarity=0.5)
    assert weights.tolist() == sorted(weights.tolist())
    assert weights.min() >= 0.5
    assert weights.max() <= 3
