"""Losses of the segmentation networks. Logits and what they are compared with are of one size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rl.vss.datasets import IGNORE
from serving.miou import LEAST_SHARE


def set_cross_entropy(logits: Tensor, targets: Tensor, sets: Tensor, weights: Tensor) -> Tensor:
    """Minus the log of the probability that a pixel has *any* class of its target's set.

    logits (N, classes, H, W); targets (N, H, W); sets (targets, classes); weights (targets,). For one-class
    sets this is the usual weighted cross entropy.
    """
    probabilities = torch.einsum("nchw,kc->nkhw", logits.softmax(1), sets)
    valid = targets != IGNORE
    index = torch.where(valid, targets, 0)
    chosen = probabilities.gather(1, index[:, None])[:, 0].clamp_min(1e-7)
    weight = weights[index] * valid
    return (-chosen.log() * weight).sum() / weight.sum().clamp_min(1.0)


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's to the student's classes, mean over its pixels."""
    divergence = F.kl_div(logits.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True)
    return divergence.sum(1).mean()


def disagreement(logits: Tensor, teacher: Tensor) -> Tensor:
    """1 - the soft form of how accuracy is measured (`serving.miou`): per image, the mean IoU with the
    teacher's arg max over the classes that hold at least `LEAST_SHARE` of its pixels.

    Cross entropy and divergence count pixels, so a sign or a person weighs nothing beside a road; here each
    class weighs the same. teacher (N, classes, H, W), logits or probabilities; pixels where all its classes
    are equal, as in missing soft labels, count for nothing.
    """
    size, classes = teacher.shape[-2:], teacher.shape[1]
    predicted = logits.softmax(1)
    known = (teacher != teacher[:, :1]).any(1, keepdim=True)
    expected = F.one_hot(teacher.argmax(1), classes).permute(0, 3, 1, 2) * known
    predicted = predicted * known
    shared = (predicted * expected).sum((2, 3))
    held = expected.sum((2, 3))
    iou = shared / (predicted.sum((2, 3)) + held - shared).clamp_min(1e-6)
    counted = (held >= LEAST_SHARE * size[0] * size[1]) & (held > 0)
    images = counted.any(1)
    means = (iou * counted).sum(1) / counted.sum(1).clamp_min(1)
    return ((1 - means) * images).sum() / images.sum().clamp_min(1)


def soft_cross_entropy(logits: Tensor, soft: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy against class probabilities; pixels without any count for nothing.

    logits and soft (N, classes, H, W), soft uint8: 255 x probability; weights (classes,).
    """
    weighted = soft.float() * weights[:, None, None]
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum().clamp_min(1.0)


def target_weights(counts: Tensor, rarity: float) -> Tensor:
    """Weights that lift rare classes: inverse frequency to the power `rarity`, between 0.5 and 3."""
    frequency = counts / counts.sum().clamp_min(1)
    present = frequency[frequency > 0]
    return (present.median() / frequency.clamp_min(1e-8)).pow(rarity).clamp(0.5, 3.0)
