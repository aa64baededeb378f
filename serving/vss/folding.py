"""Batch norms folded into their convolutions: what every runtime serves."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet


def fold_batch_norms(network: PSPNet) -> PSPNet:
    """Folds every batch norm into its convolution, in place; outputs stay equal to float tolerance."""
    for module in network.eval().modules():
        if isinstance(module, ConvNorm):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()  # type: ignore[assignment]
    return network
