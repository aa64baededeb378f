"""Training a bitrate estimator (paper, 3.2.3, 4.1.1): passes over the segments, then its head alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rl.bitrate.anchor import energies_of, fit_anchor, outside_outputs
from rl.bitrate.data import Seen, SizedSegments, crop_batch
from rl.bitrate.network import MEGABYTE, EstimatorNetwork, bytes_of, make_network
from rl.bitrate.recipe import BitrateRecipe

LARGEST_LOG_ERROR = 3.0
"""A size twentyfold over or under is as wrong as can be: before an untrained network has found the scale, its
relative error would explode."""

Progress = Callable[[int, float], None]
"""Told of segments seen, and of the loss."""


def train_estimator(
    data: SizedSegments, recipe: BitrateRecipe, progress: Progress = lambda seen, loss: None
) -> EstimatorNetwork:
    """A trained network in eval mode, the same for the same data, recipe and number of threads.

    Raises `ValueError` for fewer than two segments.
    """
    if len(data) < 2:
        raise ValueError(f"an estimator learns from at least 2 segments, got {len(data)}")
    targets = torch.from_numpy(data.bytes).float()
    network = make_network(recipe, data.places, targets.shape[1])
    anchors = torch.zeros_like(targets)
    if network.anchor is not None:
        anchors = _set_anchor(network, network.anchor, data, recipe)
    elif recipe.targets == "log":
        _start_at_the_mean(network, targets)
    rng = np.random.default_rng(recipe.seed)
    for part in recipe.passes:
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learning, weight_decay=recipe.weight_decay)
        batches = [batch for _ in range(part.epochs) for batch in _batches(len(data), recipe.batch, rng)]
        network.train()
        for step, chosen in enumerate(batches):
            _set_rate(optimizer, part.learning_rate, step / len(batches))
            luma = crop_batch(data, chosen.tolist(), part.crop, recipe.mirror, rng)
            outputs = network.branches(network.hidden_of(network.pooled(luma))) + anchors[chosen]
            progress(len(chosen), _descend(optimizer, network, outputs, targets[chosen], recipe))
    network.eval()
    if recipe.head_epochs:
        _train_head(network, data, targets, anchors, recipe, rng, progress)
    return network.eval()


def loss_of(outputs: Tensor, targets: Tensor, recipe: BitrateRecipe) -> Tensor:
    """The recipe's loss. outputs: (N, settings) of the network; targets: (N, settings) bytes."""
    if recipe.loss == "relative":
        error = (bytes_of(outputs, recipe) / targets).log()
        return (error.clamp(-LARGEST_LOG_ERROR, LARGEST_LOG_ERROR).exp() - 1).abs().mean()
    base = targets[:, :1] / MEGABYTE
    wanted = torch.cat([base, targets[:, 1:] / targets[:, :1]], 1)
    if recipe.targets == "log":
        wanted = wanted.log()
    squared = (outputs - wanted) ** 2
    return (squared[:, 0] + squared[:, 1:].sum(1)).mean()


@torch.inference_mode()
def see(network: EstimatorNetwork, data: SizedSegments, recipe: BitrateRecipe) -> Seen:
    """What the network says of segments."""
    rows = [network(data.picture(index))[0] for index in range(len(data))]
    return Seen(bytes_of(torch.cat(rows), recipe).double().numpy(), data.change())


def _batches(count: int, size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """One pass in random order; batches differ by at most one segment, so that none is too small."""
    return np.array_split(rng.permutation(count), max(1, round(count / size)))


def _set_rate(optimizer: torch.optim.Optimizer, ends: tuple[float, float], done: float) -> None:
    rate = ends[1] + (ends[0] - ends[1]) * (1 + math.cos(math.pi * done)) / 2
    for group in optimizer.param_groups:
        group["lr"] = rate


def _descend(
    optimizer: torch.optim.Optimizer,
    module: nn.Module,
    outputs: Tensor,
    targets: Tensor,
    recipe: BitrateRecipe,
) -> float:
    loss = loss_of(outputs, targets, recipe)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _start_at_the_mean(network: EstimatorNetwork, targets: Tensor) -> None:
    """Biases of both branches at the mean logarithms."""
    network.base.bias.fill_((targets[:, 0] / MEGABYTE).log().mean())
    network.ratios.bias.copy_((targets[:, 1:] / targets[:, :1]).log().mean(0))


@torch.no_grad()
def _set_anchor(
    network: EstimatorNetwork, anchor: nn.Linear, data: SizedSegments, recipe: BitrateRecipe
) -> Tensor:
    """Fits the anchor to all drives; gives (segments, settings) what the branches are to add to, which comes
    from other drives. Until they have learnt, the branches add nothing."""
    energies, sizes = energies_of(data), np.log(data.bytes)
    wanted = np.concatenate([sizes[:, :1] - math.log(MEGABYTE), sizes[:, 1:] - sizes[:, :1]], 1)
    fitted = fit_anchor(energies, wanted, data.drives, recipe.ridge)
    anchor.weight.copy_(torch.from_numpy(fitted.weight.T))
    anchor.bias.copy_(torch.from_numpy(fitted.bias))
    anchor.requires_grad_(False)
    for branch in (network.base, network.ratios):
        nn.init.zeros_(branch.weight)
        nn.init.zeros_(branch.bias)
    return torch.from_numpy(outside_outputs(energies, wanted, data.drives, recipe.ridge)).float()


def _train_head(
    network: EstimatorNetwork,
    data: SizedSegments,
    targets: Tensor,
    anchors: Tensor,
    recipe: BitrateRecipe,
    rng: np.random.Generator,
    progress: Progress,
) -> None:
    """Both FC layers and branches on what the pool gives for whole frames."""
    with torch.no_grad():
        pooled = torch.cat([network.pooled(data.picture(index)) for index in range(len(data))])
    head = nn.ModuleList([network.hidden, network.base, network.ratios])
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=recipe.weight_decay)
    for epoch in range(recipe.head_epochs):
        _set_rate(optimizer, recipe.head_rate, epoch / recipe.head_epochs)
        for chosen in _batches(len(data), recipe.batch, rng):
            outputs = network.branches(network.hidden_of(pooled[chosen])) + anchors[chosen]
            progress(len(chosen), _descend(optimizer, head, outputs, targets[chosen], recipe))
