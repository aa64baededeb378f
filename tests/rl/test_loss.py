"""Losses: set-valued cross entropy, distillation, class weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rl.vss.datasets import IGNORE, target_sets
from rl.vss.loss import distillation, set_cross_entropy, target_weights


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
        torch.randn(1, 19, 4, 4), torch.full((1, 8, 8), IGNORE), target_sets(), torch.ones(30)
    )
    assert loss.item() == 0


def test_distillation_is_zero_only_for_equal_predictions() -> None:
    logits = torch.randn(2, 5, 3, 3)
    assert distillation(logits, logits + 7).item() == pytest.approx(0, abs=1e-6)
    assert distillation(logits, logits.flip(1)).item() > 0


def test_rare_classes_weigh_more_within_bounds() -> None:
    weights = target_weights(torch.tensor([1e6, 1e4, 1e2, 0]), rarity=0.5)
    assert weights.tolist() == sorted(weights.tolist())
    assert weights.min() >= 0.5
    assert weights.max() <= 3
