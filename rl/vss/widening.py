"""A wider network that computes what a narrower one does: what was learnt is kept when a recipe grows.

The reverse of `rl.vss.removal`: old channels read the old ones as before and nothing of the new, so the
outputs are the same until training brings the new channels in (Chen et al. 2016, Net2Net).
"""

from __future__ import annotations

import torch

from rl.vss.removal import read_indices
from serving.vss.architecture import Architecture
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet


@torch.no_grad()
def widened(network: PSPNet, architecture: Architecture) -> PSPNet:
    """A network of `architecture` with the outputs of `network`; new channels start at random.

    Raises `ValueError` unless the two differ in widths alone, all of them at least as large as before.
    """
    wider = PSPNet(architecture)
    sources, targets = _layers(network), _layers(wider)
    if sources.keys() != targets.keys() or any(wider.channels[g] < c for g, c in network.channels.items()):
        raise ValueError(
            "cannot go on from that bundle's variant 0: expected the recipe's architecture, in every width "
            "at most as wide"
        )
    old = {group: torch.arange(width) for group, width in network.channels.items()}
    for name, source in sources.items():
        target, outputs = targets[name], network.channels[source.writes]
        target.conv.weight[:outputs] = 0
        if source.depthwise:
            target.conv.weight[:outputs] = source.conv.weight
        else:
            inputs = read_indices(wider.channels, source.reads, old)
            target.conv.weight[:outputs, inputs] = source.conv.weight
        statistics = target.norm.state_dict()
        for key, value in source.norm.state_dict().items():
            (statistics[key][:outputs] if value.ndim else statistics[key]).copy_(value)
    wider.classifier.weight.zero_()
    wider.classifier.weight[:, : network.channels[network.last]] = network.classifier.weight
    assert wider.classifier.bias is not None
    assert network.classifier.bias is not None
    wider.classifier.bias.copy_(network.classifier.bias)
    return wider


def _layers(network: PSPNet) -> dict[str, ConvNorm]:
    return {name: module for name, module in network.named_modules() if isinstance(module, ConvNorm)}
