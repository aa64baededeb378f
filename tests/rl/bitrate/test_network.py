"""The network is the design's: receptive field, cost, outputs, and the same in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import configs
from clients.luma import INPUT_SIZE
from rl.bitrate.export import export_onnx
from rl.bitrate.network import bytes_of, count_estimator_flops, make_network
from rl.bitrate.recipe import BitrateRecipe, EstimatorArchitecture, Passes, load_bitrate_recipe

RECIPES = Path(configs.__file__).with_name("recipes")
PAPER = load_bitrate_recipe(RECIPES / "bitrate-paper.yaml")
OURS = load_bitrate_recipe(RECIPES / "bitrate.yaml")


@pytest.mark.parametrize("recipe", [PAPER, OURS], ids=lambda recipe: recipe.name)
def test_a_cell_of_the_pool_sees_83_pixels(recipe: BitrateRecipe) -> None:
    architecture = recipe.architecture.model_copy(update={"differences": False})
    network = make_network(recipe.model_copy(update={"architecture": architecture}), 3, 18).double().eval()
    for module in network.modules():  # nothing may be cut off: every pixel in reach must count
        if isinstance(module, torch.nn.ReLU6):
            module.max_val, module.min_val = 1e9, -1e9
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.uniform_(module.weight, 0.1, 1.0)
    luma = torch.zeros(1, 3, *INPUT_SIZE, dtype=torch.double, requires_grad=True)
    network.prepared = lambda x: x  # type: ignore[method-assign, assignment]
    (gradient,) = torch.autograd.grad(network.pooled(luma)[0, :, 2, 5].sum(), luma)
    rows, columns = (gradient[0].abs().sum(0) > 0).nonzero(as_tuple=True)
    assert rows.max() - rows.min() + 1 == 83
    assert columns.max() - columns.min() + 1 == 83


@pytest.mark.parametrize("recipe", [PAPER, OURS], ids=lambda recipe: recipe.name)
def test_it_costs_no_more_than_the_papers(recipe: BitrateRecipe) -> None:
    assert count_estimator_flops(recipe.architecture, 15, 18) <= 45.79e6


def test_each_frame_position_has_weights_of_its_own() -> None:
    network = make_network(OURS, 15, 18)
    convolution = network.frames[0]
    assert isinstance(convolution, torch.nn.Conv2d)
    assert convolution.groups == 15


def test_outputs_are_the_base_and_ratios_to_it() -> None:
    outputs = torch.tensor([[0.2, 0.5, 0.25]])
    np.testing.assert_allclose(bytes_of(outputs, PAPER), [[2e5, 1e5, 5e4]], rtol=1e-6)
    np.testing.assert_allclose(bytes_of(outputs.log(), OURS), [[2e5, 1e5, 5e4]], rtol=1e-6)
    assert bytes_of(torch.tensor([[-1.0, 0.5, 0.5]]), PAPER).min() == 1


def test_onnx_says_what_torch_says(tmp_path: Path) -> None:
    path = tmp_path / "estimator.onnx"
    assert export_onnx(make_network(OURS, 15, 18).eval(), OURS, 15, path) <= 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    luma = np.zeros((1, 15, *INPUT_SIZE), np.uint8)
    sizes, features = session.run(None, {"luma": luma})
    assert sizes.shape == (1, 18)
    assert features.shape == (1, OURS.architecture.hidden)
    assert not list(tmp_path.glob("*.data"))  # one file holds it all


def test_flat_heads_cannot_learn_from_parts() -> None:
    with pytest.raises(ValueError, match="a flat head needs whole frames"):
        BitrateRecipe(
            name="x", architecture=EstimatorArchitecture(head="flat"), passes=(Passes(epochs=1, crop=0.5),)
        )


def test_energies_tell_logarithms() -> None:
    with pytest.raises(ValueError, match="make targets log"):
        BitrateRecipe(name="x", targets="plain")
