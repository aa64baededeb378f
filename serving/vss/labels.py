"""Label maps: the class with the highest logit of every pixel, at a size larger than the network's output.

Upsampling all classes bilinearly and taking the arg max costs more than a small network. But between four
neighbouring outputs every upsampled value is a weighted mean of the four, so a class whose highest corner is
below another class's lowest one cannot win anywhere between them. In most cells of street pictures that
leaves a single class, and nothing has to be upsampled there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 12
"""Pixels an output from which on cells pay off on a CPU: at stride 16 they took a quarter of the time for
full-size maps and two thirds for a quarter of the sides; with 4 pixels an output a quarter more."""
SMALL_MAP = 400 * 640
"""Pixels up to which all classes are upsampled at once where cells do not pay off: fewer, larger steps."""


def label_maps(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class ids (N, *size) uint8: arg max of the logits (N, classes, h, w) after bilinear upsampling.

    The way there is chosen by the sizes; rounding may decide between classes that are equal.
    """
    if logits.dtype == torch.bfloat16:
        logits = logits.float()  # CPUs interpolate bfloat16 slowly
    if size[0] * size[1] >= CELL * logits.shape[-2] * logits.shape[-1] and not logits.is_cuda:
        return _by_cells(logits, size)
    if size[0] * size[1] <= SMALL_MAP:
        return _likeliest(_upsampled(logits, size).unbind(1))
    classes = (logits[:, index : index + 1].contiguous() for index in range(logits.shape[1]))
    return _likeliest(_upsampled(one, size)[:, 0] for one in classes)  # all at once would not fit a cache


def _upsampled(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _likeliest(classes: Iterable[Tensor]) -> Tensor:
    """Arg max over maps (N, height, width), one a class, as a running maximum: PyTorch's arg max over a
    dimension that is not the last takes seven times as long on a CPU."""
    others = iter(classes)
    best = next(others).clone()
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for index, logits in enumerate(others, 1):
        labels.masked_fill_(logits > best, index)
        torch.maximum(best, logits, out=best)
    return labels


def _by_cells(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsamples only between four outputs that leave more than one class possible, and only those classes."""
    logits = F.pad(logits.float(), (1, 1, 1, 1), mode="replicate")
    rows = _Axis.of(logits.shape[-2] - 2, size[0], logits.device)
    columns = _Axis.of(logits.shape[-1] - 2, size[1], logits.device)
    corners = torch.stack(
        [logits[..., :-1, :-1], logits[..., :-1, 1:], logits[..., 1:, :-1], logits[..., 1:, 1:]], dim=-1
    )  # (N, classes, h + 1, w + 1, 4)
    lowest, highest = corners.amin(-1), corners.amax(-1)
    certain, winner = lowest.max(1)
    possible = highest >= certain[:, None]  # (N, classes, h + 1, w + 1)
    tiles = winner.to(torch.uint8)[:, :, None, :, None].repeat(1, 1, rows.longest, 1, columns.longest)
    contested = possible.sum(1) > 1
    image, row, column = contested.nonzero(as_tuple=True)  # of the M contested cells
    tiles[image, row, :, column, :] = _contest(
        corners.movedim(1, 0)[:, image, row, column],
        possible.movedim(1, 0)[:, image, row, column],
        rows.weights[row],
        columns.weights[column],
    )
    return tiles.flatten(3, 4).flatten(1, 2).index_select(1, rows.slots).index_select(2, columns.slots)


def _contest(corners: Tensor, possible: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Labels (M, R, C) of M cells by a running maximum over the classes that may win in each.

    corners: (classes, M, 4); possible: (classes, M); down (M, R) and right (M, C): weights of the lower and
    the right corners.
    """
    shape = (down.shape[0], down.shape[1], right.shape[1])
    best = corners.new_full(shape, -torch.inf)
    labels = torch.zeros(shape, dtype=torch.uint8, device=corners.device)
    for index in range(len(corners)):
        cells = possible[index].nonzero()[:, 0]
        value = _bilinear(corners[index, cells], down[cells], right[cells])
        before = best.index_select(0, cells)
        labels.index_copy_(0, cells, labels.index_select(0, cells).masked_fill_(value > before, index))
        best.index_copy_(0, cells, torch.maximum(before, value, out=value))
    return labels


def _bilinear(corners: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Values (M, R, C) between corners (M, 4)."""
    pairs = corners.view(-1, 2, 2)
    right, down = right[:, None], down[:, :, None]  # (M, 1, C) and (M, R, 1)
    sides = pairs[..., :1] * (1 - right) + pairs[..., 1:] * right  # (M, 2, C)
    values: Tensor = sides[:, :1] * (1 - down) + sides[:, 1:] * down
    return values


@dataclass(frozen=True, slots=True)
class _Axis:
    """Which pixels lie between which two outputs along one side; cells are padded to the longest."""

    longest: int  # pixels of the longest cell
    weights: Tensor  # (outputs + 1, longest): weight of the cell's second output, 0 in the padding
    slots: Tensor  # (pixels,) position of every pixel among the padded cells

    @classmethod
    def of(cls, outputs: int, pixels: int, device: torch.device) -> _Axis:
        at = (torch.arange(pixels, device=device) + 0.5) * (outputs / pixels) - 0.5
        cell = at.floor().long() + 1  # 0 lies before the first output, repeated there
        count = cell.bincount(minlength=outputs + 1)
        longest = int(count.max())
        within = torch.arange(pixels, device=device) - (count.cumsum(0) - count)[cell]
        slots = cell * longest + within
        weights = torch.zeros((outputs + 1) * longest, device=device)
        weights[slots] = at - at.floor()
        return cls(longest, weights.view(outputs + 1, longest), slots)
