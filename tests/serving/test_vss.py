"""Networks and inference: shapes, folding, and the choice of a numeric type."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.protocol import MaskMode
from serving.performance.network import INPUT_SIZE, encoder_input
from serving.vss.engine import SHARE_STRIDE, SegmentationEngine, for_encoder, label_maps
from serving.vss.pspnet import Architecture, PSPNet, dense_channels
from serving.vss.torch_network import Hardware, TorchNetwork, choose_hardware, fold_batch_norms

SMALL = Architecture(
    block="basic",
    stem=(8, 8),
    stem_pool=False,
    widths=(8, 12, 16, 24),
    depths=(1, 1, 2, 1),
    output_stride=16,
    pyramid=8,
    head=16,
    classes=19,
)
FLOAT32 = Hardware("cpu", torch.float32, "test")


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
    made = network(output_stride=stride, block=block)
    assert made(torch.zeros(1, 3, 96, 160)).shape == (1, 19, -(-96 // stride), -(-160 // stride))


@given(height=st.integers(17, 150), width=st.integers(17, 150))
@settings(max_examples=20, deadline=None)
def test_any_size_is_rounded_up_as_strided_convolutions_do(height: int, width: int) -> None:
    assert network()(torch.zeros(1, 3, height, width)).shape[-2:] == (-(-height // 16), -(-width // 16))


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


@pytest.mark.parametrize("masks", ["none", "last", "all"])
def test_an_engine_counts_every_pixel_once(masks: MaskMode) -> None:
    prediction = SegmentationEngine(TorchNetwork(network(), FLOAT32)).run(pictures(3, 96, 160), masks)
    stride = 1 if masks == "all" else SHARE_STRIDE
    assert prediction.class_pixels.sum() == 3 * (96 // stride) * (160 // stride)
    assert prediction.logits.shape == (19, 6, 10)
    expected = {"none": None, "last": (1, 96, 160), "all": (3, 96, 160)}[masks]
    assert (prediction.label_maps.shape if prediction.label_maps is not None else None) == expected


def test_frames_are_segmented_alike_in_any_batch() -> None:
    frames = pictures(5, 96, 160)
    alone = SegmentationEngine(TorchNetwork(network(), FLOAT32), batch_frames=1).run(frames, "all")
    together = SegmentationEngine(TorchNetwork(network(), FLOAT32), batch_frames=4).run(frames, "all")
    assert alone.label_maps is not None
    assert together.label_maps is not None
    assert np.mean(alone.label_maps != together.label_maps) < 1e-3


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
