"""Classes that a network is nowhere sure of in a frame are not in it."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from serving.vss.architecture import Architecture, EfficientNetLite, InvertedStage
from serving.vss.certainty import SURE_SHARE, without_doubtful
from serving.vss.hardware import REFERENCE
from serving.vss.openvino_network import OpenVinoNetwork
from serving.vss.pspnet import PSPNet
from serving.vss.torch_network import TorchNetwork

ROAD, CAR, FENCE = range(3)


def logits(*rows: list[tuple[int, float]]) -> Tensor:
    """(1, 3, rows, columns): at each pixel one class has this probability, the others share the rest."""
    probabilities = torch.empty(1, 3, len(rows), len(rows[0]))
    for y, row in enumerate(rows):
        for x, (winner, probability) in enumerate(row):
            probabilities[0, :, y, x] = (1 - probability) / 2
            probabilities[0, winner, y, x] = probability
    return probabilities.log()


def labels(frame: Tensor, certainty: float = 0.6) -> list[int]:
    found: list[int] = without_doubtful(frame, certainty).argmax(1).flatten().tolist()
    return found


def test_a_class_without_enough_certain_pixels_gives_them_to_those_that_are_there() -> None:
    frame = logits([(ROAD, 0.9)] * 4 + [(FENCE, 0.5)] * 4)
    assert labels(frame) == [ROAD] * 8


def test_a_small_thing_that_the_network_is_sure_of_stays() -> None:
    frame = logits([(ROAD, 0.9)] * 99 + [(CAR, 0.7)])
    assert labels(frame) == [ROAD] * 99 + [CAR]


def test_doubtful_borders_do_not_take_a_thing_away() -> None:
    sure = round(SURE_SHARE * 8)
    frame = logits([(ROAD, 0.9)] * 4 + [(CAR, 0.8)] * sure + [(CAR, 0.4)] * (8 - sure))
    assert labels(frame) == [ROAD] * 4 + [CAR] * 8


def test_a_picture_of_nothing_certain_stays_as_it_is() -> None:
    frame = logits([(ROAD, 0.5), (CAR, 0.4), (FENCE, 0.45)])
    torch.testing.assert_close(without_doubtful(frame, 0.6), frame)


def test_each_frame_of_a_batch_is_judged_by_itself() -> None:
    sure, unsure = logits([(ROAD, 0.9), (FENCE, 0.9)]), logits([(ROAD, 0.9), (FENCE, 0.5)])
    assert labels(torch.cat([sure, unsure])) == [ROAD, FENCE, ROAD, ROAD]


@given(seed=st.integers(0, 10_000), certainty=st.floats(0.05, 0.95))
@settings(max_examples=50)
def test_every_class_that_is_left_is_one_that_the_network_was_sure_of(seed: int, certainty: float) -> None:
    frame = 2 * torch.randn(1, 6, 7, 9, generator=torch.Generator().manual_seed(seed))
    best, before = frame.softmax(1).max(1)
    certain = {
        int(c) for c in before.unique() if (best[before == c] >= certainty).float().mean() >= SURE_SHARE
    }
    after = {int(c) for c in without_doubtful(frame, certainty).argmax(1).unique()}
    assert after <= certain if certain else after == {int(c) for c in before.unique()}


@pytest.fixture(scope="module")
def network() -> PSPNet:
    stages = (
        InvertedStage(width=8, depth=1, expansion=1, kernel=3, stride=1),
        InvertedStage(width=8, depth=1, expansion=2, kernel=3, stride=2),
    )
    backbone = EfficientNetLite(stem=8, stages=stages)
    torch.manual_seed(0)
    made = PSPNet(Architecture(backbone=backbone, pyramid=4, head=8, classes=19)).eval()
    torch.nn.init.normal_(made.classifier.weight, std=2.0)
    return made


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_both_runtimes_leave_the_same_classes_out(network: PSPNet, runtime: str) -> None:
    images = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        raw = network(images / 255)
    certainty = float(raw.softmax(1).amax(1).median())  # some classes go, some stay
    expected = without_doubtful(raw, certainty)
    assert not torch.equal(expected.argmax(1), raw.argmax(1))
    copied = copy.deepcopy(network)
    served = (
        OpenVinoNetwork(copied, REFERENCE, 1, certainty)
        if runtime == "openvino"
        else TorchNetwork(copied, REFERENCE, certainty)
    )
    with torch.no_grad():
        torch.testing.assert_close(served(images), expected, rtol=1e-3, atol=1e-3)
