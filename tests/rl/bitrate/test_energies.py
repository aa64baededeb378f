"""Energies measure what they say, and an anchor on them finds what made the bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clients.luma import BLANK, INPUT_SIZE
from rl.bitrate.anchor import fit_anchor, outside_outputs
from rl.bitrate.energies import FLOOR, Energies, OperationCounter, _blocks

ROWS, COLUMNS = INPUT_SIZE


def smooth(seed: int = 0) -> torch.Tensor:
    """(1, 1, rows, columns) of waves some tens of pixels long."""
    x, y = torch.arange(200.0), torch.arange(120.0)[:, None]
    phase = torch.rand(4, generator=torch.Generator().manual_seed(seed)) * 6
    waves = [torch.sin(x / 9 + k * y / 11 + phase[k]) for k in range(4)]
    return (128 + 25 * torch.stack(waves).sum(0))[None, None]


def test_what_moves_as_one_costs_little_and_what_appears_costs_all() -> None:
    before = smooth()
    change, left = _blocks(before, torch.roll(before, 1, dims=3), 6)
    assert left[..., 1:-1, 1:-1].mean() < 0.1 * change[..., 1:-1, 1:-1].mean()
    change, left = _blocks(before, before + 20 * torch.randn_like(before), 6)
    assert left.mean() > 0.8 * change.mean()
    assert (left <= change).all()


def test_a_segment_that_stands_still_or_is_blank_has_energies_too() -> None:
    still = torch.full((1, 3, ROWS, COLUMNS), BLANK, dtype=torch.uint8)
    assert torch.isfinite(Energies()(still)).all()


def test_half_of_the_input_is_half_of_the_area() -> None:
    luma = torch.full((2, 2, ROWS, COLUMNS), BLANK, dtype=torch.uint8)
    luma[0], luma[1, :, : ROWS // 2] = 90, 90
    area = Energies()(luma)[:, 0].exp() - FLOOR
    assert area[1] / area[0] == pytest.approx(0.5, abs=0.02)


def test_louder_noise_raises_every_energy_of_differences() -> None:
    noise = torch.rand(1, 4, ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)) - 0.5
    quiet, loud = (Energies()((128 + strength * noise).to(torch.uint8))[0] for strength in (20, 80))
    assert (loud > quiet)[2:12].all()


def test_operations_are_counted_one_by_one() -> None:
    numbers = torch.zeros(4, 8, dtype=torch.uint8)
    with OperationCounter() as counter:
        numbers[:2].float().abs().mean()
    assert counter.total == 2 * 8 + 2 * 8  # absolute values, summed up


def test_an_anchor_finds_the_line_and_is_not_asked_of_its_own_drives() -> None:
    rng = np.random.default_rng(0)
    energies, weight = rng.normal(size=(200, 5)), rng.normal(size=(5, 3))
    drives = [f"drive{number // 10}" for number in range(200)]
    wanted = energies @ weight + 0.01 * rng.normal(size=(200, 3))
    np.testing.assert_allclose(fit_anchor(energies, wanted, drives, 1e-6).weight, weight, atol=0.02)
    odd = np.array(drives) == "drive3"
    wanted[odd] += 5.0
    outside = outside_outputs(energies, wanted, drives, 1e-6)
    assert (wanted - outside)[odd].mean() > 4.5  # an offset that other drives do not show


def test_what_never_changed_says_nothing_where_it_is_another() -> None:
    rng = np.random.default_rng(0)
    energies = rng.normal(size=(60, 2)) * [1.0, 1e-4]
    drives = [f"drive{number // 6}" for number in range(60)]
    wanted = energies[:, :1] + 0.1 * rng.normal(size=(60, 1))
    anchor = fit_anchor(energies, wanted, drives, 0.01)
    assert abs(anchor(np.array([[0.5, 1.0]]))[0, 0] - 0.5) < 0.2


def test_a_long_drive_does_not_outvote_many_short_ones() -> None:
    rng = np.random.default_rng(0)
    drives = ["long"] * 100 + [f"short{number}" for number in range(20)]
    wanted = np.where(np.array(drives) == "long", 1.0, 0.0)[:, None]
    bias = fit_anchor(rng.normal(size=(120, 1)), wanted, drives, 0.1).bias
    assert bias[0] < 0.2
