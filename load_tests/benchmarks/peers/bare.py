"""The bare loop: segments decoded and segmented one after the other in one process, as fast as it goes.

It takes what a peer takes, reads the segments from a folder, and prints what it did as JSON.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from load_tests.benchmarks.peers.model import PeerModel, PeerTask


class BareRun(BaseModel):
    """Segments that were done within so many seconds, and the processor time that they took."""

    segments: int
    seconds: float
    cpu_s: float

    @property
    def per_s(self) -> float:
        return self.segments / self.seconds


def run(model: PeerModel, bodies: Sequence[bytes], seconds: float, ahead: bool) -> BareRun:
    """`ahead`: the next segment is decoded while one is in the network."""
    frames = _ahead(model, bodies) if ahead else map(model.decode, itertools.cycle(bodies))
    for _ in range(2):
        model.infer(next(frames))
    segments, started, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - started) < seconds:
        model.infer(next(frames))
        segments += 1
    return BareRun(segments=segments, seconds=elapsed, cpu_s=time.process_time() - cpu)


def _ahead(model: PeerModel, bodies: Sequence[bytes]) -> Iterator[NDArray[np.uint8]]:
    with ThreadPoolExecutor(1) as decoder:
        endless = itertools.cycle(bodies)
        coming = decoder.submit(model.decode, next(endless))
        for body in endless:
            ready, coming = coming.result(), decoder.submit(model.decode, body)
            yield ready


def main() -> None:
    folder, seconds, ahead = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "ahead"
    bodies = [path.read_bytes() for path in sorted(folder.iterdir())]
    print(run(PeerModel(PeerTask.given()), bodies, seconds, ahead).model_dump_json())


if __name__ == "__main__":
    main()
