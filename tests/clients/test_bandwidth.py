"""The uplink is paced for real, measured from uploads, and traces are replayed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.bandwidth import Trace, Uplink
from clients.errors import CameraError, UploadTooLate


def test_a_cap_paces_and_is_measured() -> None:
    uplink = Uplink(0.5)
    assert uplink.bandwidth is None
    upload = uplink.upload(bytes(100_000), None)
    started = time.monotonic()
    assert b"".join(upload) == bytes(100_000)
    assert time.monotonic() - started >= 0.2
    upload.finish()
    assert upload.whole
    assert uplink.bandwidth is not None
    assert uplink.bandwidth <= 0.5


def test_a_late_upload_is_broken_off_and_still_measured() -> None:
    uplink = Uplink(0.1)
    upload = uplink.upload(bytes(100_000), time.monotonic() + 0.2)
    with pytest.raises(UploadTooLate):
        list(upload)
    upload.finish()
    assert not upload.whole
    assert 0 < upload.sent < 100_000
    assert uplink.bandwidth is not None
    assert uplink.bandwidth <= 0.11


def test_closing_wakes_a_paced_upload() -> None:
    uplink = Uplink(0.001)
    uplink.close()
    with pytest.raises(UploadTooLate):
        list(uplink.upload(bytes(100_000), None))


def test_the_server_may_know_better_that_it_took_long() -> None:
    uplink = Uplink()
    upload = uplink.upload(bytes(100_000), None)
    list(upload)
    upload.finish(receive_seconds=1.0)
    assert uplink.bandwidth == pytest.approx(0.1)


def test_smoothing_follows_the_link() -> None:
    uplink = Uplink()
    for _ in range(30):
        uplink.measured(400_000, 1.0)
    assert uplink.bandwidth == pytest.approx(0.4)
    for _ in range(30):
        uplink.measured(800_000, 1.0)
    assert uplink.bandwidth == pytest.approx(0.8, rel=0.01)


steps = st.lists(st.tuples(st.floats(0.1, 5), st.floats(0, 4)), min_size=1, max_size=6)


@given(steps, st.floats(0, 50), st.integers(1, 5_000_000))
def test_a_trace_moves_exactly_its_bytes(spans: list[tuple[float, float]], start: float, size: int) -> None:
    seconds = [0.0]
    for span, _ in spans[:-1]:
        seconds.append(seconds[-1] + span)
    rates = [rate for _, rate in spans[:-1]] + [1.0]
    trace = Trace(seconds, rates)
    half = trace.sent_by(start, size // 2 or 1)
    end = trace.sent_by(start, size)
    assert start <= half <= end
    assert end - start >= size / 1e6 / max(rates) - 1e-6
    assert trace.sent_by(half, size - (size // 2 or 1)) == pytest.approx(end, abs=1e-3)


def test_traces_are_read_with_and_without_heading(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("seconds,MB/s\n0,1.0\n2,0.5\n")
    trace = Trace.read(file)
    assert trace.sent_by(0, 1_000_000) == pytest.approx(1.0)
    assert trace.sent_by(2, 1_000_000) == pytest.approx(4.0)
    assert trace.sent_by(4, 1_000_000) == pytest.approx(5.0)  # from second 4 on it begins anew
    for text in ("1,2\n", "0,-1\n", "0\n", "0,x\n", ""):
        file.write_text(text)
        with pytest.raises(CameraError):
            Trace.read(file)
