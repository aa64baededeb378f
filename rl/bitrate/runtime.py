"""What cameras run of an estimator: the same numbers, in the form that ONNX Runtime is quick at.

It convolves in blocks of 8 or 16 channels, and reads a picture without copying it only where it has fewer
than 8 of them. One frame at a time fills those blocks with nothing; a group convolution over all frames is
not taken at all. So the first layer is a sum of ordinary convolutions over a few frames each, in which the
kernels of the other places are zero and a frame is taken off its neighbour by a kernel with the sign turned;
channels are filled up with zeros to whole blocks as far as the first depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from clients.luma import BLANK, INPUT_SIZE
from rl.bitrate.energies import frames_of
from rl.bitrate.network import EstimatorNetwork, bytes_of
from rl.bitrate.recipe import BitrateRecipe

AT_ONCE = 5
"""Frames: one more is still fewer than a block, and they fit a processor's cache."""
BLOCK = 16
"""Channels that AVX-512 convolves at once; AVX2 and NEON take half or a quarter of it."""


class CameraEstimator(nn.Module):
    """What is exported: luma (N, places, 360, 640) uint8 to bytes (N, settings) and features (N, hidden)."""

    def __init__(self, network: EstimatorNetwork, recipe: BitrateRecipe) -> None:
        """Of a network that has learnt."""
        super().__init__()
        self.network, self.recipe = network.eval(), recipe
        frames, norm, _ = network.frames
        self._frames = fuse_conv_bn_eval(cast(nn.Conv2d, frames), cast(nn.BatchNorm2d, norm))
        depthwise, norm, *_ = cast(nn.Sequential, network.blocks[0].body)
        self._depthwise = fuse_conv_bn_eval(cast(nn.Conv2d, depthwise), cast(nn.BatchNorm2d, norm))

    def forward(self, luma: Tensor) -> tuple[Tensor, Tensor]:
        network, frames = self.network, frames_of(luma, AT_ONCE)
        features = network.hidden_of(network.pool(network.blocks[1](self._first_block(frames))))
        return bytes_of(network.outputs(features, luma, frames), self.recipe), features

    def _first_block(self, frames: Sequence[Tensor]) -> Tensor:
        """Up to the end of the first MobileNetV2 block, from frames (N, a few, 360, 640)."""
        _, _, activation, project, last_norm = cast(nn.Sequential, self.network.blocks[0].body)
        kernel, bias = (_filled(part, 0) for part in _parameters(self._depthwise))
        x = F.conv2d(self._first_layer(frames), kernel, bias, 2, 2, dilation=2, groups=len(kernel))
        x = F.conv2d(activation(x), _filled(cast(Tensor, project.weight), 1))
        return cast(Tensor, last_norm(x))

    def _first_layer(self, frames: Sequence[Tensor]) -> Tensor:
        kernels, bias = self._dense_kernels()
        blank = torch.full((1, 1, *INPUT_SIZE), float(BLANK)).expand(len(frames[0]), -1, -1, -1)
        pictures = [torch.cat([blank, frames[0]], 1), *frames[1:]]
        done = pictures[0].shape[1]
        total = F.conv2d(pictures[0], kernels[:, :done], bias, 2, 1)
        for picture in pictures[1:]:
            own, done = kernels[:, done : done + picture.shape[1]], done + picture.shape[1]
            total = total + F.conv2d(picture, own, None, 2, 1)
        return F.relu6(total)

    def _dense_kernels(self) -> tuple[Tensor, Tensor]:
        """(filled places, 1 + places, 3, 3) on a blank frame and all others, and biases (filled places,)."""
        kernel, bias = _parameters(self._frames)
        differences = self.network.architecture.differences
        kernel = kernel if differences else kernel / BLANK
        places = torch.arange(len(kernel))
        dense = kernel.new_zeros(len(kernel), 1 + len(kernel), 3, 3)
        dense[places, 1 + places] = kernel[:, 0]
        dense[places, places if differences else 0 * places] = -kernel[:, 0]
        return _filled(dense, 0), _filled(bias, 0)


def _parameters(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias."""
    return convolution.weight, cast(Tensor, convolution.bias)


def _filled(tensor: Tensor, dimension: int) -> Tensor:
    """With zeros behind, to whole blocks of channels."""
    shape = list(tensor.shape)
    shape[dimension] = -shape[dimension] % BLOCK
    return torch.cat([tensor, tensor.new_zeros(shape)], dimension)
