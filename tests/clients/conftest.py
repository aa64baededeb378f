"""Shared pieces of the camera's tests: a protocol peer and small videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.clients.peer import Peer


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as server:
        yield server


def make_video(path: Path, frames: int, fps: int, size: tuple[int, int] = (64, 48)) -> Path:
    """A video whose frame k is k grey levels bright (times 2), so that frames can be told apart."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"qp": "10", "preset": "ultrafast"}
        for index in range(frames):
            picture = np.full((size[1], size[0], 3), 2 * index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Four seconds at 30 fps, 64x48."""
    return make_video(tmp_path / "street.mp4", 120, 30)
