"""Keep plans hit their FLOPs, and physical removal computes what hard masks compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.ladder import load_ladder
from rl.vss.acosp import MaskedNetwork
from rl.vss.cost import CostModel, count_flops
from rl.vss.evaluate import FRAME_SIZE
from rl.vss.family import channel_plans
from rl.vss.recipe import Cut, FamilyRecipe
from rl.vss.removal import (
    FEWEST_BEFORE_CLASSES,
    FEWEST_CHANNELS,
    keep_plan,
    remove_channels,
    without_blocks,
)
from serving.vss.architecture import Architecture, EfficientNetLite, InvertedStage, ResNet, dense_channels
from serving.vss.backbones import make_backbone
from serving.vss.pspnet import PSPNet

Change = Callable[[PSPNet], PSPNet]
WIDTHS = st.integers(4, 24)


@st.composite
def resnets(draw: st.DrawFn) -> ResNet:
    return ResNet(
        block=draw(st.sampled_from(["basic", "bottleneck"])),
        stem=tuple(draw(st.lists(WIDTHS, min_size=1, max_size=3))),
        stem_pool=draw(st.booleans()),
        widths=draw(st.tuples(WIDTHS, WIDTHS, WIDTHS, WIDTHS)),
        depths=draw(st.tuples(*[st.integers(1, 2)] * 4)),
        output_stride=draw(st.sampled_from([8, 16, 32])),
    )


@st.composite
def efficient_nets(draw: st.DrawFn) -> EfficientNetLite:
    stages = [
        InvertedStage(
            width=draw(WIDTHS),
            depth=draw(st.integers(1, 2)),
            expansion=draw(st.integers(1, 3)),
            kernel=draw(st.sampled_from([3, 5])),
            stride=stride,
        )
        for stride in (1, 2, 2, draw(st.sampled_from([1, 2])))
    ]
    return EfficientNetLite(stem=draw(WIDTHS), stages=tuple(stages))


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    backbone = draw(resnets() | efficient_nets())
    finer = len(make_backbone(backbone, {"image": 3} | backbone.channels()).groups) - 1
    return Architecture(
        backbone=backbone,
        bins=draw(st.sampled_from([(1,), (1, 2, 3, 6)])),
        pyramid=draw(WIDTHS),
        head=draw(WIDTHS),
        merges=tuple(draw(st.lists(WIDTHS, max_size=finer))),
        classes=draw(st.integers(2, 20)),
    )


@st.composite
def prunings(draw: st.DrawFn) -> tuple[Architecture, dict[str, int]]:
    """An architecture and how many channels of each group survive: any number from one to all."""
    architecture = draw(architectures())
    dense = dense_channels(architecture)
    keep = {group: draw(st.integers(1, width)) for group, width in dense.items()}
    return architecture, {**keep, "image": dense["image"], "classes": dense["classes"]}


@settings(max_examples=25)
@given(
    pruning=prunings(), seed=st.integers(0, 2**16), size=st.tuples(st.integers(33, 70), st.integers(33, 70))
)
def test_removal_computes_what_the_hard_mask_computes(
    lived_in: Change, pruning: tuple[Architecture, dict[str, int]], seed: int, size: tuple[int, int]
) -> None:
    architecture, keep = pruning
    torch.manual_seed(seed)
    network = lived_in(PSPNet(architecture))
    masked = MaskedNetwork(network, keep).eval()
    masked.set_temperature(1e-12)
    smaller = remove_channels(network, masked.kept_channels())
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(smaller(image), masked(image), rtol=1e-4, atol=1e-4)
    assert smaller.channels == keep
    assert not smaller.training
    assert not any(module._forward_hooks for module in smaller.modules())


@settings(max_examples=10)
@given(prunings())
def test_the_cost_model_is_torchs_counter(pruning: tuple[Architecture, dict[str, int]]) -> None:
    architecture, keep = pruning
    assert CostModel.of(architecture, (96, 64)).flops(keep) == count_flops(architecture, keep, (96, 64))


@pytest.mark.parametrize("name", ["lite", "paper"])
def test_plans_of_the_recipes_meet_their_sparsity(name: str, request: pytest.FixtureRequest) -> None:
    recipe: FamilyRecipe = request.getfixturevalue(name)
    specs = load_ladder().variants
    plans = channel_plans(recipe, specs)
    dense = count_flops(recipe.architecture, plans[0], FRAME_SIZE)
    for spec, plan, larger in zip(specs[1:], plans[1:], plans, strict=False):
        flops = count_flops(recipe.architecture, plan, FRAME_SIZE)
        assert flops == pytest.approx((1 - spec.sparsity) * dense, rel=0.1)
        gone = {f"{block}.expanded" for block in recipe.pruning.cut(specs.index(spec)).blocks}
        assert all(plan[group] == 0 for group in gone)
        kept = plan.keys() - gone - {"image", "classes"}
        assert all(FEWEST_CHANNELS <= plan[group] <= larger[group] for group in kept)
        assert all(
            plan[group] % recipe.pruning.channel_multiple == 0
            for group in ("stage3.stream", "head", "pyramid.1")
        )


def test_a_spared_backbone_keeps_that_much_larger_a_share(lite: FamilyRecipe) -> None:
    dense = dense_channels(lite.architecture)
    plan = keep_plan(lite.architecture, 0.75, 8, FRAME_SIZE, cut=Cut(spared=2.0))
    share = {group: plan[group] / dense[group] for group in ("stage5.1.expanded", "stage6.stream", "head")}
    assert share["stage5.1.expanded"] == pytest.approx(2 * share["head"], rel=0.1)
    assert share["stage6.stream"] == pytest.approx(2 * share["head"], rel=0.1)
    assert plan["merge.2"] >= FEWEST_BEFORE_CLASSES


def test_a_block_that_is_cut_leaves_its_stream_as_it_was(lite: FamilyRecipe) -> None:
    """Nothing is computed in its place, everything else keeps its weights, and its FLOPs go to others."""
    architecture = lite.architecture.model_copy(update={"pixels": None})
    network = PSPNet(architecture).eval()
    cut = Cut(blocks=("stage3.2", "stage5.3"))
    plan = keep_plan(architecture, 0.5, 8, FRAME_SIZE, cut=cut)
    shallow = without_blocks(network, plan)
    assert isinstance(shallow.backbone.stages[3][2], torch.nn.Identity)  # type: ignore[index]
    cut_out = {"backbone.stages.3.2.", "backbone.stages.5.3."}
    left = {name for name in network.state_dict() if not name.startswith(tuple(cut_out))}
    assert shallow.state_dict().keys() == left
    for stage, block in ((3, 2), (5, 3)):
        network.backbone.stages[stage][block] = torch.nn.Identity()  # type: ignore[index]
    image = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(shallow(image), network(image))
    assert plan["stage3.1.expanded"] > keep_plan(architecture, 0.5, 8, FRAME_SIZE)["stage3.1.expanded"]
    assert without_blocks(shallow, plan) is shallow


def test_only_residual_blocks_can_be_cut(lite: FamilyRecipe) -> None:
    with pytest.raises(ValueError, match="residual blocks"):
        keep_plan(lite.architecture, 0.5, 8, FRAME_SIZE, cut=Cut(blocks=("stage6.1",)))
    with pytest.raises(ValidationError, match="should match pattern"):
        Cut(blocks=("stage3.0",))


def test_variant_0_of_lite_is_under_8_gflops(lite: FamilyRecipe) -> None:
    assert count_flops(lite.architecture, dense_channels(lite.architecture), FRAME_SIZE) < 8e9


def test_an_architecture_too_thin_for_its_sparsity_is_refused(tiny: Architecture) -> None:
    with pytest.raises(ValueError, match="lower channel_multiple"):
        keep_plan(tiny, 0.9375, 8, FRAME_SIZE)
