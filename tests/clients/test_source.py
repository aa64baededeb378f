"""Frames are picked by time and never repeated; sources say clearly what is wrong with them."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.codec import rgb
from clients.errors import SourceError
from clients.source import FramePicker, VideoSource, fit_size, frames_per_segment
from tests.clients.conftest import make_video


@given(st.floats(15, 120), st.floats(0, 1e5), st.integers(30, 400))
def test_picking_keeps_the_rate(source_fps: float, start: float, frames: int) -> None:
    picker = FramePicker(15)
    picked = [k for k in range(frames) if picker.wants(start + k / source_fps)]
    assert picked[0] == 0
    assert abs(len(picked) - (frames - 1) / source_fps * 15) <= 1.5


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=200))
def test_jitter_gives_no_bursts(gaps: list[float]) -> None:
    """Whatever the times, no more is picked than fits, plus what a late frame may catch up."""
    picker, times = FramePicker(15), np.cumsum(gaps)
    picked = [t for t in times if picker.wants(t)]
    assert len(picked) <= (times[-1] - times[0]) * 15 + 2


def test_time_that_jumps_back_starts_anew() -> None:
    picker = FramePicker(15)
    assert picker.wants(100.0)
    assert picker.wants(0.0)
    assert not picker.wants(0.01)


@given(st.integers(16, 5000), st.integers(16, 5000))
def test_fitting_keeps_the_aspect_with_even_sides(width: int, height: int) -> None:
    w, h = fit_size(width, height, (1280, 720))
    assert w % 2 == h % 2 == 0
    assert w <= 1280
    assert h <= 720
    assert w == 1280 or h == 720
    if min(w, h) > 32:
        assert abs(w / h - width / height) / (width / height) < 0.07


def test_slower_sources_give_their_own_whole_rate() -> None:
    assert frames_per_segment(1.0, 15, 29.97) == 15
    assert frames_per_segment(1.0, 15, 11.03) == 11
    assert frames_per_segment(2.0, 15, 11.03) == 22
    assert frames_per_segment(2.0, 15, 7.6) == 15
    assert frames_per_segment(1.0, 15, 14.99) == 15
    assert frames_per_segment(1.0, 15, None) == 15


def test_a_file_gives_whole_segments_of_distinct_frames(video: Path) -> None:
    source = VideoSource(str(video), box=(64, 48))
    segments = list(source.segments())
    assert source.format.frames == 15
    assert [len(segment) for segment in segments] == [15] * 4
    levels = [round(float(rgb(frame).mean())) for segment in segments for frame in segment]
    assert len(levels) == len(set(levels))
    assert levels == sorted(levels)


def test_a_slow_file_gets_its_own_rate(tmp_path: Path) -> None:
    source = VideoSource(str(make_video(tmp_path / "slow.mp4", 30, 10)), box=(64, 48))
    assert (source.format.fps, source.format.frames) == (10.0, 10)
    assert [len(segment) for segment in source.segments()] == [10, 10, 10]


def test_looping_goes_on_and_closing_ends_it(video: Path) -> None:
    source = VideoSource(str(video), box=(64, 48), loop=True)
    count = 0
    for _ in source.segments():
        count += 1
        if count == 9:
            source.close()
    assert count == 9


def test_clear_lines(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        VideoSource("not-there.mp4")
    text = tmp_path / "notes.txt"
    text.write_text("no video")
    with pytest.raises(SourceError, match="not a video"):
        VideoSource(str(text))
    with pytest.raises(SourceError, match="a folder"):
        VideoSource(str(tmp_path))
    with pytest.raises(SourceError, match="whole number"):
        VideoSource("demo:x")
    short = VideoSource(str(make_video(tmp_path / "short.mp4", 5, 30)))
    with pytest.raises(SourceError, match="shorter than one segment"):
        list(short.segments())


@pytest.fixture
def network_camera(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of an HTTP camera that hangs up after every three seconds of video, and its callers."""
    stream = make_video(tmp_path / "camera.ts", 90, 30).read_bytes()
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            with contextlib.suppress(OSError):  # the camera may look only at the first bytes
                self.wfile.write(stream)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/live.ts", calls
        server.shutdown()
        thread.join()


def test_a_network_camera_that_hangs_up_is_opened_again(network_camera: tuple[str, list[str]]) -> None:
    address, calls = network_camera
    lines: list[str] = []
    source = VideoSource(address, box=(64, 48), notify=lines.append)
    assert source.live
    segments = list(itertools.islice(source.segments(), 5))
    source.close()
    assert [len(segment) for segment in segments] == [15] * 5
    assert len(calls) >= 3  # once to look, twice to play
    assert "broke off" in lines[0]


def test_the_demo_is_a_source() -> None:
    source = VideoSource("demo:2", box=(160, 90))
    segment = next(source.segments())
    assert source.format.width == 160
    assert [rgb(frame).shape for frame in segment] == [(90, 160, 3)] * 15


def test_a_real_clip_keeps_its_own_rate_and_shape(data: Path) -> None:
    source = VideoSource(str(data / "clips" / "test" / "crosswalk_us_campus.mp4"))
    assert (source.format.fps, source.format.width, source.format.height) == (11.0, 1280, 704)
    segment = next(source.segments())
    assert len(segment) == 11
    assert all(isinstance(frame, av.VideoFrame) and frame.width == 1280 for frame in segment)
