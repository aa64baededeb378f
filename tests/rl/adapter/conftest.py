"""A made-up family on made-up streets, written as a profile by the profile's own writers.

Every clip goes back and forth between easy and hard stretches. On hard ones pruned variants and small scales
lose accuracy, and the softmax is flatter; how many bytes a segment takes goes its own way.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.codec import CodecFlags
from clients.luma import INPUT_SIZE
from clients.protocol import SegmentFormat
from configs.bundle import Bundle, write_manifest
from configs.ladder import Configuration, load_ladder
from configs.timing import TIMINGS
from rl.adapter.replay import Replay, load_replay
from rl.profiles.index import ClipIndex, IndexedClip, Split
from rl.profiles.outcomes import SegmentOutcomes
from rl.profiles.sizes import MOTION_BINS, SegmentSizes
from rl.profiles.store import SizesOrigin, sizes_path, write_sizes
from rl.profiles.store_outcomes import OutcomesOrigin, outcomes_path, write_outcomes
from serving.miou import Overlap

CLASSES = 4
SEGMENTS = 20
DRIVES: dict[str, Split] = {
    **{f"street{number:02d}": "train" for number in range(8)},
    **{f"street{number:02d}": "val" for number in range(8, 10)},
    **{f"street{number:02d}": "test" for number in range(10, 12)},
}


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The real ladder and FLOPs like the shipped family's; nobody runs its networks."""
    directory = tmp_path_factory.mktemp("family")
    ladder = load_ladder()
    variants = []
    for number, variant in enumerate(ladder.variants):
        (directory / f"{number}.onnx").write_bytes(b"never run")
        flops = [int(7.65e9 * (1 - variant.sparsity) * scale**2) for scale in ladder.scales]
        variants.append(
            {
                "format": "onnx",
                "name": variant.name,
                "sparsity": variant.sparsity,
                "weights": f"{number}.onnx",
                "parameters": 1,
                "flops": flops,
            }
        )
    fields = {
        "name": "made-up",
        "frame": (1280, 720),
        "ladder": ladder.model_dump(),
        "classes": [f"class{number}" for number in range(CLASSES)],
        "codec": CodecFlags().model_dump(),
        "variants": variants,
    }
    write_manifest(directory, fields)
    return Bundle.load(directory)


@pytest.fixture(scope="session")
def index() -> ClipIndex:
    return ClipIndex(
        IndexedClip(name=name, file=f"{name}.mp4", drive=name, split=split, width=1280, height=720)
        for name, split in DRIVES.items()
    )


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory, family: Bundle) -> Path:
    folder = tmp_path_factory.mktemp("profile")
    sizes_origin, timing = SizesOrigin.of(family), str(TIMINGS[0])
    outcomes_origin = OutcomesOrigin(family=family.family, frame_stride=5)
    for number, clip in enumerate(DRIVES):
        rng = np.random.default_rng(number)
        hard, base = bool(number % 2), rng.uniform(5e5, 1.5e6)
        for time in range(SEGMENTS):
            hard ^= bool(rng.random() < 0.1)
            base = float(np.clip(base * rng.lognormal(sigma=0.1), 4e5, 2e6))
            difficulty = float(np.clip((0.75 if hard else 0.25) + 0.05 * rng.standard_normal(), 0, 1))
            sizes = some_sizes(clip, time, base, family, rng)
            write_sizes(sizes_path(folder, timing, clip, time), sizes_origin, sizes)
            outcomes = some_outcomes(clip, time, sizes.bytes, difficulty, family, rng)
            path = outcomes_path(folder, timing, family.family, clip, time)
            write_outcomes(path, outcomes_origin, outcomes, "made up")
    return folder


@pytest.fixture(scope="session")
def bare_replay(profile: Path, family: Bundle, index: ClipIndex) -> Replay:
    """Without embeddings."""
    return load_replay(profile, index, family)


@pytest.fixture(scope="session")
def replay(bare_replay: Replay) -> Replay:
    """With embeddings that tell roughly how hard a segment is, as a trained encoder's would."""
    rng = np.random.default_rng(0)
    told = bare_replay.known.miou.mean(1)[:, None, None] + 0.01 * rng.standard_normal(
        (len(bare_replay), 90, 4)
    )
    return bare_replay.with_embeddings(told.astype(np.float16))


def of_split(replay: Replay, *splits: Split) -> Replay:
    return replay.of_drives({drive for drive, split in DRIVES.items() if split in splits})


def with_estimates(replay: Replay, error: float) -> Replay:
    """Estimates that are off by this standard deviation of their logarithms."""
    rng = np.random.default_rng(0)
    true = replay.known.bytes[:, :: len(replay.ladder.variants)]
    return replace(replay, estimated=true * rng.lognormal(sigma=error, size=true.shape))


def accuracy(configuration: Configuration, difficulty: float) -> float:
    loss = 0.16 * configuration.variant + 0.25 * (1 - configuration.scale) + 0.008 * (configuration.qp - 20)
    return float(np.clip(1 - loss * difficulty, 0.02, 1))


def some_sizes(clip: str, time: int, base: float, family: Bundle, rng: np.random.Generator) -> SegmentSizes:
    shares = [s.scale**1.6 * 2 ** (-(s.qp - 20) / 6) for s in family.ladder.settings]
    return SegmentSizes(
        clip=clip,
        index=time,
        format=SegmentFormat(),
        bytes=(base * np.array(shares)).astype(np.int64),
        frame_types="IPP",
        motion=np.zeros((2, MOTION_BINS), np.int64),
        luma=np.broadcast_to(rng.integers(0, 256, (1, 1, INPUT_SIZE[1]), np.uint8), (3, *INPUT_SIZE)).copy(),
    )


def some_outcomes(
    clip: str,
    time: int,
    sizes: NDArray[np.int64],
    difficulty: float,
    family: Bundle,
    rng: np.random.Generator,
) -> SegmentOutcomes:
    """Three frames of 1000 pixels a class; every class has the same IoU in a frame."""
    rungs = family.ladder.configurations
    wanted = np.array([accuracy(rung, difficulty) for rung in rungs])
    by_frame = np.clip(wanted[:, None] + 0.01 * rng.standard_normal((len(rungs), 3)), 0.01, 1)
    by_frame[0] = 1
    shared = np.rint(2000 * by_frame / (1 + by_frame)).astype(np.int32)[:, :, None].repeat(CLASSES, 2)
    overlap = Overlap(
        np.full((1, 3, CLASSES), 1000, np.int32), np.full((len(rungs), 3, CLASSES), 1000, np.int32), shared
    )
    classes = rng.integers(0, CLASSES, (1, 6, 8))
    steps = np.rint(40 + 200 * wanted).astype(np.uint8)  # how far below the highest logit the others lie
    top = classes == np.arange(CLASSES)[:, None, None]
    logits = tuple(np.where(top, np.uint8(0), step) for step in steps)
    return SegmentOutcomes(clip, time, sizes, overlap, None, logits)
