"""ImageNet's weights come into our own backbone whole, and into no other."""

from __future__ import annotations

import pytest
import torch

from rl.vss.imagenet import imagenet_weights, load_imagenet
from rl.vss.recipe import FamilyRecipe
from serving.vss.architecture import Architecture
from serving.vss.backbones import EfficientNetLiteBackbone
from serving.vss.layers import ConvNorm
from serving.vss.pspnet import PSPNet


@pytest.fixture(scope="module")
def network(lite: FamilyRecipe) -> PSPNet:
    made = PSPNet(lite.architecture)
    load_imagenet(made)
    return made.eval()


def test_every_layer_of_the_backbone_is_filled(network: PSPNet) -> None:
    """By the number of weights: those of the file less its classifier's."""
    layers = [module for module in network.backbone.modules() if isinstance(module, ConvNorm)]
    filled = sum(layer.conv.weight.numel() + 4 * layer.norm.num_features for layer in layers)
    used = {
        name: value
        for name, value in imagenet_weights().items()
        if not name.startswith(("_conv_head", "_bn1", "_fc")) and value.ndim > 0
    }
    assert filled == sum(value.numel() for value in used.values())


def test_features_are_those_that_imagenet_taught(network: PSPNet) -> None:
    """A trained network's activations are neither dead nor exploding at any depth; noise has none of them.

    The first block is computed by hand from the file, with the normalisation that it was trained with.
    """
    state = imagenet_weights()
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.conv2d(
        (image * 255 - 127.5) / 128, state["_conv_stem.weight"], stride=2, padding=1
    )
    x = torch.nn.functional.batch_norm(
        x,
        state["_bn0.running_mean"],
        state["_bn0.running_var"],
        state["_bn0.weight"],
        state["_bn0.bias"],
        eps=1e-3,
    )
    assert isinstance(network.backbone, EfficientNetLiteBackbone)
    with torch.no_grad():
        torch.testing.assert_close(network.backbone.stem(image - 0.5), x, rtol=1e-3, atol=1e-3)
        features = network.backbone(image - 0.5)
    assert [f.shape[1:] for f in features] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
    assert all(0.1 < f.std().item() < 50 for f in features)


def test_other_backbones_are_refused(tiny: Architecture, lite: FamilyRecipe) -> None:
    with pytest.raises(ValueError, match="EfficientNet-Lite0 alone"):
        load_imagenet(PSPNet(tiny))
    thin = lite.architecture.backbone.model_copy(update={"stem": 16})
    with pytest.raises(ValueError, match="full width"):
        load_imagenet(PSPNet(lite.architecture.model_copy(update={"backbone": thin})))
