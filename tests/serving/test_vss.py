"""Networks and inference: shapes, folding, and the choice of a numeric type."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.protocol import MaskMode
from serving.performance.network import INPUT_SIZE, encoder_input
from serving.vss.architecture import Architecture, EfficientNetLite, InvertedStage, ResNet, dense_channels
from serving.vss.engine import SHARE_STRIDE, SegmentationEngine, for_encoder, label_maps
from serving.vss.folding import fold_batch_norms
from serving.vss.framing import framed
from serving.vss.hardware import REFERENCE, choose_hardware
from serving.vss.network import Network
from serving.vss.openvino_network import KEPT_SHAPES, OpenVinoNetwork
from serving.vss.pspnet import PSPNet
from serving.vss.torch_network import TorchNetwork

BACKBONE = ResNet(
    block="basic",
    stem=(8, 8),
    stem_pool=False,
    widths=(8, 12, 16, 24),
    depths=(1, 1, 2, 1),
    output_stride=16,
)
SMALL = Architecture(
    backbone=BACKBONE,
    pyramid=8,
    head=16,
    classes=19,
)


def network(seed: int = 0, **changes: object) -> PSPNet:
    torch.manual_seed(seed)
    made = PSPNet(SMALL.model_copy(update=changes))
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return made.eval()


def pictures(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_logits_come_at_the_output_stride(stride: int, block: str) -> None:
    made = network(backbone=BACKBONE.model_copy(update={"output_stride": stride, "block": block}))
    assert made(torch.zeros(1, 3, 96, 160)).shape == (1, 19, -(-96 // stride), -(-160 // stride))


@given(
    height=st.integers(17, 150),
    width=st.integers(17, 150),
    merges=st.sampled_from([(), (8,), (8, 12)]),
)
@settings(max_examples=20)
def test_any_size_is_rounded_up_as_strided_convolutions_do(
    height: int, width: int, merges: tuple[int, ...]
) -> None:
    logits = network(merges=merges)(torch.zeros(1, 3, height, width))
    stride = 16 >> len(merges)
    assert logits.shape[-2:] == (-(-height // stride), -(-width // stride))


def test_more_merges_than_finer_features_are_refused() -> None:
    with pytest.raises(ValueError, match="features at 2 finer strides"):
        network(merges=(8, 8, 8))


@pytest.fixture(scope="module")
def in_both_runtimes() -> tuple[PSPNet, OpenVinoNetwork]:
    stages = [
        InvertedStage(width=8, depth=2, expansion=expansion, kernel=kernel, stride=stride)
        for expansion, kernel, stride in ((1, 3, 1), (2, 3, 2), (2, 5, 2), (2, 3, 2))
    ]
    backbone = EfficientNetLite(stem=8, stages=tuple(stages))
    made = network(backbone=backbone, pixels=4096, merges=(16, 8))
    return made, OpenVinoNetwork(copy.deepcopy(made), REFERENCE, 1)


@given(height=st.integers(17, 99), width=st.integers(17, 99), frames=st.integers(1, 3))
@settings(max_examples=10)
def test_openvino_computes_what_torch_computes(
    in_both_runtimes: tuple[PSPNet, OpenVinoNetwork], height: int, width: int, frames: int
) -> None:
    torch_network, openvino_network = in_both_runtimes
    pictures = torch.randint(256, (frames, 3, height, width), dtype=torch.uint8)
    images = pictures.to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = torch_network(framed(images, 4096) / 255)
    torch.testing.assert_close(openvino_network(images), expected, rtol=1e-3, atol=1e-3)


def test_openvino_keeps_few_shapes_and_answers_for_all() -> None:
    ready = OpenVinoNetwork(network(), REFERENCE, 1)
    for side in range(16, 16 + 2 * KEPT_SHAPES + 4, 2):
        assert ready(torch.zeros(1, 3, side, 32, dtype=torch.uint8)).shape[-2:] == (-(-side // 16), 2)
    assert len(ready._compiled) == KEPT_SHAPES
    assert ready(torch.zeros(1, 3, 16, 32, dtype=torch.uint8)).shape[-2:] == (1, 2)


def test_every_convolution_reads_and_writes_as_many_channels_as_its_groups_hold() -> None:
    narrow = {
        group: (c if group in ("image", "classes") else 4) for group, c in dense_channels(SMALL).items()
    }
    assert PSPNet(SMALL, narrow).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 19, 4, 4)


def test_folding_batch_norms_changes_nothing() -> None:
    made = network()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            fold_batch_norms(copy.deepcopy(made))(images), made(images), rtol=1e-4, atol=1e-4
        )


Runtime = Callable[[PSPNet], Network]


def _torch(made: PSPNet) -> Network:
    return TorchNetwork(made, REFERENCE)


def _openvino(made: PSPNet) -> Network:
    return OpenVinoNetwork(made, REFERENCE, 1)


@pytest.mark.parametrize("masks", ["none", "last", "all"])
def test_an_engine_counts_every_pixel_once(masks: MaskMode) -> None:
    prediction = SegmentationEngine(TorchNetwork(network(), REFERENCE)).run(pictures(3, 96, 160), masks)
    stride = 1 if masks == "all" else SHARE_STRIDE
    assert prediction.class_pixels.sum() == 3 * (96 // stride) * (160 // stride)
    assert prediction.logits.shape == (19, 6, 10)
    expected = {"none": None, "last": (1, 96, 160), "all": (3, 96, 160)}[masks]
    assert (prediction.label_maps.shape if prediction.label_maps is not None else None) == expected


@pytest.mark.parametrize("runtime", [_torch, _openvino])
def test_frames_are_segmented_alike_in_any_batch(runtime: Runtime) -> None:
    frames = pictures(5, 96, 160)
    alone = SegmentationEngine(runtime(network()), batch_frames=1).run(frames, "all")
    together = SegmentationEngine(runtime(network()), batch_frames=4).run(frames, "all")
    assert alone.label_maps is not None
    assert together.label_maps is not None
    assert np.mean(alone.label_maps != together.label_maps) < 1e-3


@pytest.mark.parametrize("masks", ["none", "last", "all"])
@pytest.mark.parametrize("streams", [2, 3, 8])
def test_streams_side_by_side_give_what_one_gives(streams: int, masks: MaskMode) -> None:
    """However many there are, with frames over or too few for all of them."""
    frames = pictures(5, 96, 160)
    one = SegmentationEngine(OpenVinoNetwork(network(), REFERENCE, 1)).run(frames, masks)
    many = SegmentationEngine(OpenVinoNetwork(network(), REFERENCE, streams)).run(frames, masks)
    np.testing.assert_array_equal(many.class_pixels, one.class_pixels)
    np.testing.assert_array_equal(many.logits, one.logits)
    if one.label_maps is not None:
        np.testing.assert_array_equal(many.label_maps, one.label_maps)


@pytest.mark.parametrize("size", [(45, 80), (90, 160), (720, 1280)])
def test_logits_at_any_stride_travel_small_and_look_the_same_to_the_encoder(size: tuple[int, int]) -> None:
    logits = torch.randn(1, 3, 9, 16, generator=torch.Generator().manual_seed(0)) * 4
    fine = torch.nn.functional.interpolate(logits, size, mode="bilinear")
    sent = for_encoder(fine)
    assert sent.shape[-2] * sent.shape[-1] <= INPUT_SIZE[0] * INPUT_SIZE[1]
    torch.testing.assert_close(encoder_input(sent), encoder_input(fine), rtol=0, atol=3e-3)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx2"}, torch.float32),
        ({"avx2", "avx512f"}, torch.float32),
        ({"avx512f", "avx512_bf16"}, torch.bfloat16),
        ({"avx512f", "avx512_bf16", "amx_bf16"}, torch.bfloat16),
        ({"asimd"}, torch.float32),
        (set(), torch.float32),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is preferred to any CPU")
def test_the_numeric_type_is_what_the_processor_has_in_hardware(flags: set[str], dtype: torch.dtype) -> None:
    hardware = choose_hardware(frozenset(flags))
    assert hardware.dtype == dtype
    assert hardware.reason


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (180, 320), (720, 1280)])
def test_label_maps_are_the_arg_max_of_upsampled_logits(size: tuple[int, int]) -> None:
    logits = torch.randn(2, 19, 6, 10, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    differing = label_maps(logits, size) != wide.argmax(1)
    assert differing.float().mean() < 1e-5  # rounding may decide where two classes are equal
