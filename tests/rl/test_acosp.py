"""ACoSP's masks: soft at first, exactly top-k in the end, trainable in between."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.vss.acosp import ChannelMask, MaskedNetwork, annealed_temperature, channel_importance
from serving.vss.architecture import Architecture
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet

Change = Callable[[PSPNet], PSPNet]


@st.composite
def masks(draw: st.DrawFn) -> ChannelMask:
    importance = draw(st.lists(st.floats(0.01, 100), min_size=2, max_size=40, unique=True))
    return ChannelMask(torch.tensor(importance), draw(st.integers(1, len(importance) - 1)))


@given(masks())
def test_a_cold_mask_is_exactly_the_top_k(mask: ChannelMask) -> None:
    mask.temperature.fill_(1e-9)
    hard = mask()
    scores = mask.scores()
    if len(set(scores.tolist())) == len(scores):  # float32 can make ties of distinct floats
        assert hard.sum().item() == pytest.approx(mask.keep)
        assert torch.equal(hard.nonzero()[:, 0], mask.selected())
    assert len(mask.selected()) == mask.keep


@given(masks())
def test_its_sum_approaches_k_as_the_temperature_falls(mask: ChannelMask) -> None:
    distances = []
    for temperature in (1.0, 0.1, 0.001, 1e-9):
        mask.temperature.fill_(temperature)
        distances.append(abs(mask().sum().item() - mask.keep))
    gaps = mask.scores().sort().values.diff()
    if gaps.min() > 1e-4:
        assert distances[-1] == pytest.approx(0, abs=1e-4)
        assert distances[-1] <= distances[0] + 1e-4


@given(masks(), st.floats(0.01, 1.0))
def test_masks_are_shares_and_rise_with_the_score(mask: ChannelMask, temperature: float) -> None:
    mask.temperature.fill_(temperature)
    values = mask().detach()
    assert ((values >= 0) & (values <= 1)).all()
    order = mask.scores().detach().argsort()
    assert (values[order].diff() >= 0).all()


def test_channels_compete_for_their_places() -> None:
    mask = ChannelMask(torch.tensor([1.0, 2.0, 3.0, 4.0]), keep=2)
    (mask()[0] * 5).backward()
    gradient = mask.stored_scores.grad
    assert gradient is not None
    assert gradient[0] > 0
    assert (gradient[1:] < 0).all()
    assert gradient.sum().item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("keep", [0, 4, 5])
def test_a_mask_must_have_something_to_remove(keep: int) -> None:
    with pytest.raises(ValueError, match="keep must leave"):
        ChannelMask(torch.rand(4), keep)


def test_annealing_is_exponential_between_its_bounds() -> None:
    temperatures = [annealed_temperature(step, 101, (1.0, 0.001)) for step in (0, 50, 100)]
    assert temperatures == pytest.approx([1.0, 0.001**0.5, 0.001])


@pytest.fixture
def masked(tiny: Architecture, lived_in: Change) -> MaskedNetwork:
    network = lived_in(PSPNet(tiny))
    keep = {g: c if g in ("image", "classes") else c // 2 for g, c in network.channels.items()}
    return MaskedNetwork(network, keep)


def test_a_copy_follows_its_own_masks(masked: MaskedNetwork) -> None:
    """The trainer averages a deep copy: its hooks must not look at the original's scores."""
    copied = copy.deepcopy(masked)
    image = torch.rand(1, 3, 64, 64)
    before = copied(image)
    masked.set_temperature(1e-6)
    assert torch.equal(copied(image), before)
    assert not torch.equal(masked(image), before)


def test_every_mask_learns(masked: MaskedNetwork) -> None:
    masked.train()(torch.rand(2, 3, 64, 64)).square().mean().backward()
    for name, mask in masked.masks.items():
        gradient = mask.stored_scores.grad
        assert isinstance(gradient, torch.Tensor)
        assert gradient.abs().sum() > 0, name
    assert {"image", "classes"}.isdisjoint(masked.masks)


def test_the_compiled_mask_has_the_eager_gradients() -> None:
    """Compiled code on CPUs was seen with all-zero gradients through `gather`; masks must not share that."""
    layer, mask = ConvNorm({"a": 4, "b": 8}, ("a",), "b"), ChannelMask(torch.rand(8), keep=3)
    layer.register_forward_hook(mask.hook)
    image, parameters = torch.rand(2, 4, 8, 8), [*layer.parameters(), *mask.parameters()]
    torch.compiler.reset()
    compiled = torch.compile(layer, dynamic=False)
    for temperature in (1.0, 0.1):
        mask.temperature.fill_(temperature)
        eager = torch.autograd.grad(layer(image).square().sum(), parameters)
        fast = torch.autograd.grad(compiled(image).square().sum(), parameters)
        for expected, found in zip(eager, fast, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        assert fast[-1].abs().sum() > 0


def test_a_dead_channel_is_the_least_important(tiny: Architecture, lived_in: Change) -> None:
    network = lived_in(PSPNet(tiny))
    with torch.no_grad():
        network.head.norm.weight[5], network.head.norm.bias[5] = 0, 0
    assert channel_importance(network)["head"].argmin() == 5
