"""Losses of the segmentation networks: set-valued cross entropy and distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rl.vss.datasets import IGNORE


def set_cross_entropy(logits: Tensor, targets: Tensor, sets: Tensor, weights: Tensor) -> Tensor:
    """Minus the log of the probability that a pixel has *any* class of its target's set.

    logits (N, classes, h, w); targets (N, H, W) with H, W multiples of h, w; sets (targets, classes);
    weights (targets,). For one-class sets this is the usual weighted cross entropy.
    """
    logits = F.interpolate(logits, size=targets.shape[-2:], mode="bilinear", align_corners=False)
    probabilities = torch.einsum("nchw,kc->nkhw", logits.softmax(1), sets)
    valid = targets != IGNORE
    index = torch.where(valid, targets, 0)
    chosen = probabilities.gather(1, index[:, None])[:, 0].clamp_min(1e-7)
    weight = weights[index] * valid
    return (-chosen.log() * weight).sum() / weight.sum().clamp_min(1.0)


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's to the student's classes, mean over pixels."""
    divergence = F.kl_div(logits.log_softmax(1), teacher.log_softmax(1), reduction="none", log_target=True)
    return divergence.sum(1).mean()


def soft_cross_entropy(logits: Tensor, soft: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy against class probabilities; pixels without any count for nothing.

    logits (N, classes, h, w); soft (N, classes, H, W) uint8, 255 x probability; weights (classes,).
    """
    logits = F.interpolate(logits, size=soft.shape[-2:], mode="bilinear", align_corners=False)
    weighted = soft.float() * weights[:, None, None]
    return -(weighted * logits.log_softmax(1)).sum() / weighted.sum().clamp_min(1.0)


def target_weights(counts: Tensor, rarity: float) -> Tensor:
    """Weights that lift rare classes: inverse frequency to the power `rarity`, between 0.5 and 3."""
    frequency = counts / counts.sum().clamp_min(1)
    present = frequency[frequency > 0]
    return (present.median() / frequency.clamp_min(1e-8)).pow(rarity).clamp(0.5, 3.0)
