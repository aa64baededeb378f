"""From masks to smaller networks: how many channels to keep, and their physical removal (paper, 2.1.1).

Where both sides of a convolution lose channels its cost falls with the square, so keep fractions are
solved for: FLOPs after removal are (1 - sparsity) of the dense network's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rl.vss.cost import CostModel
from rl.vss.recipe import Cut
from serving.vss.architecture import (
    CLASSES,
    IMAGE,
    Architecture,
    ChannelPlan,
    dense_channels,
    inner_group,
    last_group,
)
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet

FEWEST_CHANNELS = 4
FEWEST_BEFORE_CLASSES = 16  # eight channels hardly tell 19 classes apart
TOLERANCE = 0.1


def keep_plan(
    architecture: Architecture,
    sparsity: float,
    multiple: int,
    size: tuple[int, int],
    ceiling: ChannelPlan | None = None,
    cut: Cut | None = None,
) -> dict[str, int]:
    """The channels to keep so that FLOPs at (width, height) are (1 - sparsity) of the dense network's.

    Starts from the fewest channels and widens, `multiple` channels at a time, whichever group keeps the
    smallest share of its dense width and still fits, never above `ceiling` (the plan that is pruned
    further). So all groups of the backbone end near one fraction, and all others near that by `cut.spared`;
    the blocks that are cut keep no channel. Raises `ValueError` if 10 % cannot be met, and for blocks that
    do not add into a residual stream.
    """
    cost, dense, cut = CostModel.of(architecture, size), dense_channels(architecture), cut or Cut()
    ceiling = {**(ceiling or dense), **dict.fromkeys(map(inner_group, cut.blocks), 0)}
    if wrong := set(ceiling) - set(dense):
        raise ValueError(f"expected residual blocks of the backbone to cut, got {sorted(wrong)}")
    target = (1 - sparsity) * cost.flops(dense)
    fewest = max(FEWEST_CHANNELS, multiple)
    plan = {group: min(fewest, ceiling[group]) for group in dense} | {g: dense[g] for g in (IMAGE, CLASSES)}
    last = last_group(architecture)
    plan[last] = min(max(fewest, FEWEST_BEFORE_CLASSES), ceiling[last])
    backbone = architecture.backbone.channels()
    full = {group: width * (cut.spared if group in backbone else 1.0) for group, width in dense.items()}
    while (wider := _widened(plan, full, ceiling, multiple, cost, target * cut.target)) is not None:
        plan = wider
    reached = cost.flops(plan)
    if abs(reached - target) > TOLERANCE * target:
        raise ValueError(
            f"no plan comes within {TOLERANCE:.0%} of sparsity {sparsity}: {reached / 1e9:.3f} GFLOPs "
            f"instead of {target / 1e9:.3f}; lower channel_multiple ({multiple}) or widen the architecture"
        )
    return plan


def _widened(
    plan: ChannelPlan,
    full: Mapping[str, float],
    ceiling: ChannelPlan,
    multiple: int,
    cost: CostModel,
    most: float,
) -> dict[str, int] | None:
    """`plan` with one group wider, the one furthest from `full`, or None where nothing more fits."""
    for group in sorted(plan, key=lambda group: plan[group] / full[group]):
        wider = {**plan, group: min(plan[group] + multiple, ceiling[group])}
        if wider[group] > plan[group] and cost.flops(wider) <= most:
            return wider
    return None


def without_blocks(network: PSPNet, plan: ChannelPlan) -> PSPNet:
    """The network without the blocks that keep no channel in `plan`; it computes something else."""
    if all(plan[group] or not channels for group, channels in network.channels.items()):
        return network
    kept = {group: torch.arange(width if plan[group] else 0) for group, width in network.channels.items()}
    return remove_channels(network, kept)


@torch.no_grad()
def remove_channels(network: PSPNet, kept: Mapping[str, Tensor]) -> PSPNet:
    """A smaller dense network that computes what `network` computes when all other channels are zero.

    kept: rising indices of the surviving channels, for every group of the network.
    """
    smaller = PSPNet(network.architecture, {group: len(indices) for group, indices in kept.items()})
    modules = dict(network.named_modules())
    for name, target in smaller.named_modules():
        source = modules[name]
        if isinstance(target, ConvNorm) and isinstance(source, ConvNorm):
            inputs = (
                torch.tensor([0]) if source.depthwise else read_indices(network.channels, source.reads, kept)
            )
            _copy_slice(source, target, inputs, kept[source.writes])
    smaller.classifier.weight.copy_(network.classifier.weight[:, kept[network.last]])
    assert smaller.classifier.bias is not None
    assert network.classifier.bias is not None
    smaller.classifier.bias.copy_(network.classifier.bias)
    return smaller.train(network.training)


def read_indices(channels: ChannelPlan, reads: tuple[str, ...], kept: Mapping[str, Tensor]) -> Tensor:
    """Surviving input channels of a convolution that reads these groups one after the other."""
    offset, indices = 0, []
    for group in reads:
        indices.append(kept[group] + offset)
        offset += channels[group]
    return torch.cat(indices)


def _copy_slice(source: ConvNorm, target: ConvNorm, inputs: Tensor, outputs: Tensor) -> None:
    target.conv.weight.copy_(source.conv.weight[outputs][:, inputs])
    kept_statistics = {
        name: value[outputs] if value.ndim else value for name, value in source.norm.state_dict().items()
    }
    target.norm.load_state_dict(kept_statistics)
