"""Weights on disk: small, close to what they were, and the same again when written again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs.bundle import BundleError
from serving.vss.architecture import Architecture, EfficientNetLite, InvertedStage
from serving.vss.pspnet import PSPNet
from serving.vss.weights import TOP, quantized, read_network, save_network

STAGES = tuple(InvertedStage(width=8, depth=2, expansion=2, kernel=3, stride=s) for s in (1, 2, 2))
SMALL = Architecture(
    backbone=EfficientNetLite(stem=8, stages=STAGES), pyramid=8, head=16, merges=(16,), classes=19
)


@pytest.fixture
def network() -> PSPNet:
    torch.manual_seed(0)
    return PSPNet(SMALL).eval()


def test_a_network_is_read_as_it_was_but_for_rounding(network: PSPNet, tmp_path: Path) -> None:
    save_network(network, tmp_path / "v.safetensors")
    again = read_network(tmp_path / "v.safetensors", SMALL, network.channels)
    for (name, before), after in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert after.dtype == before.dtype, name
        if before.ndim > 1:
            largest = before.flatten(1).abs().amax(1)[:, None, None, None]
            assert ((after - before).abs() <= 0.26 * largest).all()  # the few that are clipped
            assert (after - before).square().mean().sqrt() < 0.01 * before.abs().max(), name
        else:
            assert torch.equal(after, before), name
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (tmp_path / "v.safetensors").stat().st_size < 2 * parameters + 40_000  # half is the file's header


def test_what_was_read_is_written_as_it_was(network: PSPNet, tmp_path: Path) -> None:
    save_network(network, tmp_path / "a.safetensors")
    once = read_network(tmp_path / "a.safetensors", SMALL, network.channels)
    save_network(once, tmp_path / "b.safetensors")
    twice = read_network(tmp_path / "b.safetensors", SMALL, network.channels)
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))


@settings(max_examples=200)
@given(arrays("float32", (3, 2, 2, 1), elements=st.floats(-1e6, 1e6, width=32)))
def test_no_weight_moves_by_more_than_half_a_level_unless_clipping_pays(weight) -> None:  # type: ignore[no-untyped-def]
    original = torch.from_numpy(weight.copy())
    levels, scale = quantized(original)
    assert levels.dtype == torch.int8
    assert levels.abs().max() <= TOP
    restored = levels.float() * scale[:, None, None, None]
    plain = original.flatten(1).abs().amax(1) / TOP / 2  # half a level where nothing is clipped
    error = (restored - original).flatten(1)
    assert (error.square().mean(1).sqrt() <= plain * 1.001 + 1e-30).all()


def test_a_broken_file_is_refused(network: PSPNet, tmp_path: Path) -> None:
    file = tmp_path / "v.safetensors"
    save_network(network, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BundleError, match="does not hold the weights"):
        read_network(file, SMALL, network.channels)
