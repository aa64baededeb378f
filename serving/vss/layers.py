"""The one building block of all networks: a convolution that knows its channel groups."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from serving.vss.architecture import ChannelPlan


class ConvNorm(nn.Module):
    """Convolution and batch norm, labelled with the channel groups that it reads and writes.

    A depthwise convolution writes the one group that it reads, each channel from itself.
    """

    def __init__(
        self,
        channels: ChannelPlan,
        reads: tuple[str, ...],
        writes: str,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        *,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        assert not depthwise or reads == (writes,)
        self.reads, self.writes, self.depthwise = reads, writes, depthwise
        self.conv = nn.Conv2d(
            sum(channels[group] for group in reads),
            channels[writes],
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=channels[writes] if depthwise else 1,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(channels[writes])

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self._convolved(x))  # type: ignore[no-any-return]

    def _convolved(self, x: Tensor) -> Tensor:
        """On CPUs the gradient of a depthwise convolution takes three to five times as long in bfloat16 as
        in float32 (5x5 and strided ones most: 190 ms of 39), so those stay out of mixed precision there."""
        if self.depthwise and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self.conv(x.float()).to(x.dtype)  # type: ignore[no-any-return]
        return self.conv(x)  # type: ignore[no-any-return]
