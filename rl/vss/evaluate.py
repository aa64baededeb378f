"""What the variants are worth: mIoU against labels and time a frame (the table of the model card).

CamVid's true labels judge the 19-class networks through the merge of `serving.vss.classes`.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from configs.bundle import Bundle
from configs.ladder import VariantSpec
from rl.vss.cost import count_flops, count_parameters
from rl.vss.datasets import LabelledImage, merge_to_camvid
from serving.vss.classes import CAMVID_MERGE, STREET_CLASSES
from serving.vss.family import ready
from serving.vss.hardware import REFERENCE
from serving.vss.labels import label_maps
from serving.vss.pspnet import PSPNet

CAMVID_SIZE = (960, 720)
"""(width, height) that CamVid's 480x360 copies are brought to: the size that it was filmed at."""
FRAME_SIZE = (1280, 720)
WARM_UPS, REPEATS = 3, 15

LabelMap = NDArray[np.uint8]
AnyNetwork = Callable[[Tensor], Tensor]
"""RGB images (N, 3, H, W), uint8, to logits."""


class VariantFigures(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True)

    name: str
    sparsity: float
    parameters: int
    gflops: float
    camvid_miou: float | None  # None: measured without data
    streets_miou: float | None
    milliseconds: float


@torch.no_grad()
def predict(
    network: AnyNetwork, image: NDArray[np.uint8], size: tuple[int, int], shape: tuple[int, int]
) -> LabelMap:
    """Labels of (rows, columns) `shape`: image brought to (width, height), logits upsampled, arg max."""
    picture = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]  # (1, 3, H, W)
    labels: LabelMap = label_maps(network(pixels), shape)[0].numpy()
    return labels


def confusion(pairs: Iterable[tuple[LabelMap, LabelMap]], classes: int) -> NDArray[np.int64]:
    """(classes, classes + 1) pixel counts over all (truth, prediction) pairs; last column: any other id.

    Pixels whose true id is not a class are ignored.
    """
    counts = np.zeros(classes * (classes + 1), np.int64)
    for truth, prediction in pairs:
        valid = truth < classes
        found = np.minimum(prediction[valid], classes).astype(np.int64)
        counts += np.bincount(truth[valid].astype(np.int64) * (classes + 1) + found, minlength=len(counts))
    return counts.reshape(classes, classes + 1)


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Mean over the classes that occur in the truth of intersection over union."""
    hits = np.diag(counts)
    union = counts.sum(1) + counts[:, :-1].sum(0) - hits
    present = counts.sum(1) > 0
    return float((hits[present] / union[present]).mean())


def camvid_miou(network: AnyNetwork, examples: Sequence[LabelledImage]) -> float:
    """mIoU of a 19-class network over CamVid's 11 classes, from one confusion matrix over all images."""
    predict_one = _evaluating(network)
    pairs = ((e.target, merge_to_camvid(predict_one(e, CAMVID_SIZE))) for e in examples)
    return mean_iou(confusion(pairs, len(CAMVID_MERGE)))


def streets_miou(network: AnyNetwork, examples: Sequence[LabelledImage]) -> float:
    """mIoU over those of the 19 classes that the pseudo-labels hold, at the labels' own size."""
    return mean_iou(streets_confusion(network, examples))


def streets_confusion(network: AnyNetwork, examples: Sequence[LabelledImage]) -> NDArray[np.int64]:
    """(19, 20) pixel counts over all pseudo-labelled frames, at the labels' own size."""
    predict_one = _evaluating(network)
    pairs = ((e.target, predict_one(e, (e.image.shape[1], e.image.shape[0]))) for e in examples)
    return confusion(pairs, len(STREET_CLASSES))


def _evaluating(network: AnyNetwork) -> Callable[[LabelledImage, tuple[int, int]], LabelMap]:
    if isinstance(network, nn.Module):
        network.eval()

    def predict_one(example: LabelledImage, size: tuple[int, int]) -> LabelMap:
        rows, columns = example.target.shape
        return predict(network, example.image, size, (rows, columns))

    return predict_one


@torch.no_grad()
def milliseconds_a_frame(networks: Sequence[AnyNetwork]) -> list[float]:
    """Median time from a decoded 1280x720 frame to logits; networks take turns, so that a busy moment of the
    machine hits all of them."""
    frame = torch.randint(256, (1, 3, FRAME_SIZE[1], FRAME_SIZE[0]), dtype=torch.uint8)
    frame = frame.to(memory_format=torch.channels_last)
    times: list[list[float]] = [[] for _ in networks]
    for repeat in range(WARM_UPS + REPEATS):
        for network, taken in zip(networks, times, strict=True):
            started = time.perf_counter()
            network(frame)
            if repeat >= WARM_UPS:
                taken.append((time.perf_counter() - started) * 1e3)
    return [statistics.median(taken) for taken in times]


def measure_family(
    networks: Sequence[PSPNet],
    specs: Sequence[VariantSpec],
    certainty: Mapping[int, float],
    camvid: Sequence[LabelledImage],
    streets: Sequence[LabelledImage],
) -> list[VariantFigures]:
    """Every figure of every variant on these images, as it will be served; accuracy is None where there are
    none. `certainty` is what classes need to be in a frame, by variant."""
    sizes = [
        (count_parameters(network), count_flops(network.architecture, network.channels, FRAME_SIZE))
        for network in networks
    ]
    threads = torch.get_num_threads()
    served = [
        ready(copy.deepcopy(network), REFERENCE, threads, certainty.get(number, 0.0))
        for number, network in enumerate(networks)
    ]
    return _figures(served, specs, sizes, camvid, streets)


def measure_bundle(
    bundle: Bundle, networks: Sequence[AnyNetwork], camvid: Sequence[LabelledImage]
) -> list[VariantFigures]:
    """The same of a bundle's variants, whatever they are, but for streets; the bundle knows their cost."""
    sizes = [(variant.parameters, variant.flops[0]) for variant in bundle.manifest.variants]
    return _figures(networks, bundle.ladder.variants, sizes, camvid, [])


def _figures(
    networks: Sequence[AnyNetwork],
    specs: Sequence[VariantSpec],
    sizes: Sequence[tuple[int, int]],
    camvid: Sequence[LabelledImage],
    streets: Sequence[LabelledImage],
) -> list[VariantFigures]:
    """Rows from networks and their (parameters, FLOPs)."""
    times = milliseconds_a_frame(networks)
    rows = []
    for number, spec in enumerate(track(specs, "measuring")):
        network, (parameters, flops) = networks[number], sizes[number]
        rows.append(
            VariantFigures(
                name=spec.name,
                sparsity=spec.sparsity,
                parameters=parameters,
                gflops=round(flops / 1e9, 4),
                camvid_miou=round(camvid_miou(network, camvid), 4) if camvid else None,
                streets_miou=round(streets_miou(network, streets), 4) if streets else None,
                milliseconds=round(times[number], 2),
            )
        )
    return rows


def figures_table(title: str, variants: Sequence[VariantFigures]) -> Table:
    """FLOPs and milliseconds of a 1280x720 frame; CamVid and streets are mIoU."""
    table = Table(title=title)
    table.add_column("variant", no_wrap=True)
    for heading in ("sparsity", "parameters", "GFLOPs", "CamVid", "streets", "ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, row in enumerate(variants):
        table.add_row(
            f"{number}: {row.name}",
            f"{row.sparsity:g}",
            f"{row.parameters:,}",
            f"{row.gflops:.3f}",
            accuracy(row.camvid_miou),
            accuracy(row.streets_miou),
            f"{row.milliseconds:.1f}",
        )
    return table


def accuracy(miou: float | None) -> str:
    return "-" if miou is None else f"{miou:.3f}"
