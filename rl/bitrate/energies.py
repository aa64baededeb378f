"""What a codec pays for, measured by hand: how much a segment's luma varies over space and time, and how much
of the change is left when each block may move.

A convolution can learn to measure this, but not from fifty drives: its scale is off on the next one. The
logarithms of a segment's bytes are close to linear in these logarithms, whatever is seen
(`rl.bitrate.anchor`).

Means of absolute differences between pixels some way apart stand for detail and noise (near ones) and
structure (far ones). `spread` says how evenly a difference is spread: bits grow as its logarithm, so a few
strong edges cost less than noise. A regular sample of the pixels is enough. What the codec's search for
motion leaves is what the best translation of each block leaves, in closed form (Lucas and Kanade), at three
sizes of the picture, of which the smaller ones follow faster motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clients.luma import BLANK

SPATIAL_LAGS, TEMPORAL_LAGS = (1, 2, 4, 8, 16), (1, 2)
SPREAD_LAGS = (1, 4)
STEP = 8
"""Every so many pixels of every so many rows."""
FLOOR = 0.02
"""Grey levels added to every energy: below that nothing is coded."""
KNEE = 6.0
"""Grey levels from which on a difference costs as its logarithm."""
SHRINKS = ((6, 4), (3, 5))
"""By how much the picture shrinks each time, and the blocks' side then."""
FLATNESS = 1.0
"""Squared grey levels of gradient below which a block is too flat to be told where it moved."""


class Energies(nn.Module):
    """Luma (N, places, rows, columns) of 0..255 to (N, energies) logarithms. `frames` are its frames as
    `frames_of` gives them, where they are there already."""

    def forward(self, luma: Tensor, frames: Sequence[Tensor] | None = None) -> Tensor:
        frames = frames_of(luma, luma.shape[1]) if frames is None else frames
        seen = [*_extent(luma), *_in_space(luma), *_in_time(luma)]
        change, left = _after_motion(frames)
        # All logarithms at once: many small operations cost runtimes more than what they compute.
        energies = (torch.stack([*seen, *change, *left], 1) + FLOOR).log()
        measured, unexplained = energies[:, : -len(left)], energies[:, -len(left) :]
        return torch.cat([measured, unexplained - measured[:, -len(change) :]], 1)


def frames_of(luma: Tensor, at_once: int) -> list[Tensor]:
    """(N, at most `at_once`, rows, columns) of numbers with fractions."""
    return [luma[:, place : place + at_once].float() for place in range(0, luma.shape[1], at_once)]


def _extent(luma: Tensor) -> list[Tensor]:
    """How much of the input the video fills, and how many of the frames are new ones."""
    seen = luma[:, 0, ::STEP, ::STEP] != BLANK
    area = seen.any(1).float().mean(1) * seen.any(2).float().mean(1)
    sampled = luma[:, :, ::STEP, ::STEP]
    fresh = (sampled[:, 1:] != sampled[:, :-1]).flatten(2).any(2).float().mean(1)
    return [area, fresh]


def _in_space(luma: Tensor) -> list[Tensor]:
    """Of the first, the middle and the last frame."""
    places = luma.shape[1]
    frames = torch.cat([luma[:, at : at + 1] for at in (0, places // 2, places - 1)], 1)
    found = []
    for lag in SPATIAL_LAGS:
        across, down = _apart(frames, lag)
        found += [_size(across), _size(down)]
        if lag in SPREAD_LAGS:
            found += [_spread(across), _spread(down)]
    return found


def _in_time(luma: Tensor) -> list[Tensor]:
    """From frame to frame: of each pixel, and of its difference from neighbours."""
    sampled = luma[:, :, ::STEP, ::STEP].float()
    found = []
    for lag in (lag for lag in TEMPORAL_LAGS if lag < luma.shape[1]):
        change = sampled[:, lag:] - sampled[:, :-lag]
        found += [_size(change), _spread(change)]
    return found + [_size(detail[:, 1:] - detail[:, :-1]) for detail in _apart(luma, 1)]


def _after_motion(frames: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """At each size of the picture: of the blocks' change, and what no translation explains of it."""
    change: list[Tensor] = []
    left: list[Tensor] = []
    for shrink, block in SHRINKS:
        frames = [torch.cat([_pooled(some, shrink) for some in frames], 1)]
        picture = frames[0]
        energies = _blocks(picture[:, :-1], picture[:, 1:], block)
        for found, energy in zip((change, left), energies, strict=True):
            found += [_size(energy.sqrt()), _spread(energy.sqrt())]
    return change, left


def _blocks(before: Tensor, after: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Mean squared change of every block from frame to frame, and what is left of it after the translation
    that explains most; frames (N, pairs, rows, columns)."""
    both = before + after  # twice the picture half-way
    across = (both[:, :, 1:-1, 2:] - both[:, :, 1:-1, :-2]).flatten(0, 1)  # four times the gradient
    down = (both[:, :, 2:, 1:-1] - both[:, :, :-2, 1:-1]).flatten(0, 1)
    change = (after - before)[:, :, 1:-1, 1:-1].flatten(0, 1)
    products = (across * across, down * down, across * down, across * change, down * change, change * change)
    xx, yy, xy, xt, yt, tt = (_pooled(product, block) for product in products)
    xx, yy, xy, xt, yt = xx / 16 + FLATNESS, yy / 16 + FLATNESS, xy / 16, xt / 4, yt / 4
    explained = (yy * xt**2 - 2 * xy * xt * yt + xx * yt**2) / (xx * yy - xy**2)
    shape = (len(before), -1, *tt.shape[1:])
    return tt.reshape(shape), (tt - explained).clamp(min=0).reshape(shape)


def _pooled(pictures: Tensor, size: int) -> Tensor:
    """Means of each `size` x `size` pixels of the last two dimensions, whose rest is left out: rows first,
    which runtimes add up faster than windows."""
    *others, height, width = pictures.shape
    rows, columns = height // size, width // size
    whole = pictures[..., : rows * size, :]
    added = whole.reshape(*others, rows, size, width).mean(-2)[..., : columns * size]
    return added.reshape(*others, rows, columns, size).mean(-1)


def _apart(luma: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """Differences between pixels `lag` columns, and `lag` rows apart, at a sample of places."""
    here = luma[:, :, ::STEP, ::STEP].float()  # the same for all lags, so runtimes take it once
    right, below = luma[:, :, ::STEP, lag::STEP].float(), luma[:, :, lag::STEP, ::STEP].float()
    return right - here[..., : right.shape[3]], below - here[:, :, : below.shape[2]]


def _size(difference: Tensor) -> Tensor:
    """(N,) grey levels."""
    return difference.abs().mean((1, 2, 3))


def _spread(difference: Tensor) -> Tensor:
    """(N,) grey levels, of which larger ones count less."""
    return KNEE * (difference.abs() / KNEE).log1p().mean((1, 2, 3))


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations on numbers: one for each result of arithmetic, and one for each number that is summed
    up or pooled. Choosing, reshaping and converting numbers costs none."""

    FREE = frozenset(
        {"alias", "cat", "clone", "detach", "select", "slice", "stack", "unbind", "unsqueeze"}
        | {"view", "_to_copy", "_unsafe_view"}
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        if name not in self.FREE and isinstance(result, Tensor):
            given = [value.numel() for value in args if isinstance(value, Tensor)]
            self.total += max([result.numel(), *given])
        return result
