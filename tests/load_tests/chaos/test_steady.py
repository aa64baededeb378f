"""What cameras saw of a fault, from their attempts; and a link that is cut, silent and slow."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.protocol import CameraStatus, SegmentFormat
from clients.results import Result
from load_tests.chaos.camera_kill import miscounted
from load_tests.chaos.link import Link, Quality
from load_tests.chaos.steady import Attempt, seen


def answers(*times: float) -> list[Attempt]:
    return [Attempt(at - 0.1, at) for at in times]


def test_a_fault_that_nobody_notices_is_no_gap() -> None:
    found = seen([answers(9, 10, 11, 12)], began=10.5, ended=10.5, watched=13)
    assert found.told == {}
    assert found.longest_gap_s == pytest.approx(1)
    assert found.recovered_s == pytest.approx(0.5)
    assert found.answered == 2


def test_the_longest_gap_and_the_last_camera_count() -> None:
    lucky = answers(9, 10, 11, 12, 13, 14, 15)
    unlucky = [*answers(9, 10), Attempt(10.6, 10.7, "overload"), Attempt(12, 13.5, "no answer"), *answers(14)]
    found = seen([lucky, unlucky], began=10.5, ended=11, watched=16)
    assert found.told == {"overload": 1, "no answer": 1}
    assert found.longest_gap_s == pytest.approx(4)
    assert found.recovered_s == pytest.approx(3)


def test_who_is_never_answered_again_did_not_recover() -> None:
    found = seen([[*answers(9), Attempt(10, 12, "no answer")]], began=10, ended=10, watched=20)
    assert found.recovered_s == math.inf
    assert found.longest_gap_s == pytest.approx(11)


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=30), st.floats(1, 50))
def test_a_gap_is_never_longer_than_the_time_that_was_watched(steps: list[float], began: float) -> None:
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    found = seen([answers(*times)], began, began, began + 20)
    assert 0 <= found.longest_gap_s <= max(began, times[-1]) + 20


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A port that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(4096):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def send(connection: socket.socket, data: bytes = b"x") -> float:
    """Seconds until it is back."""
    started = time.monotonic()
    connection.sendall(data)
    left = len(data)
    while left:
        found = connection.recv(left)
        if not found:
            raise ConnectionResetError
        left -= len(found)
    return time.monotonic() - started


def test_a_link_forwards_is_slow_on_request_and_then_fast_again(echo: int) -> None:
    with Link(echo) as link, socket.create_connection(("127.0.0.1", link.port), timeout=20) as connection:
        assert send(connection, b"x" * 100_000) < 5
        with link.as_(Quality(delay_s=0.3)):
            assert send(connection) >= 0.6  # there and back
        with link.as_(Quality(bytes_per_s=10_000)):
            assert send(connection, b"x" * 5000) >= 0.5
        assert send(connection) < 0.3


def test_a_silent_link_holds_what_it_got_and_gives_it_out_later(echo: int) -> None:
    with Link(echo) as link, socket.create_connection(("127.0.0.1", link.port), timeout=20) as connection:
        with link.as_(Quality(silent=True)):
            connection.sendall(b"held")
            connection.settimeout(0.4)
            with pytest.raises(TimeoutError):
                connection.recv(4)
        connection.settimeout(20)
        assert connection.recv(4) == b"held"


def test_a_cut_link_breaks_connections_and_lets_none_in_until_it_is_mended(echo: int) -> None:
    with Link(echo) as link:
        with socket.create_connection(("127.0.0.1", link.port), timeout=20) as connection:
            send(connection)
            with link.cut():
                with pytest.raises(OSError):  # noqa: PT011, PT012 - reset or broken pipe
                    for _ in range(50):
                        send(connection)
                        time.sleep(0.02)
                with (
                    pytest.raises(OSError),  # noqa: PT011
                    socket.create_connection(("127.0.0.1", link.port), timeout=20) as refused,
                ):
                    send(refused)
        with socket.create_connection(("127.0.0.1", link.port), timeout=20) as connection:
            send(connection)


def record(seq: int, dropped: str | None = None) -> dict[str, object]:
    return {"seq": seq, "dropped": dropped}


def result(seq: int, dropped: tuple[int, ...] = ()) -> Result:
    example = dict(Result.model_config["json_schema_extra"]["examples"][0])  # type: ignore[index, call-overload]
    return Result.model_validate(example | {"seq": seq, "dropped": dropped, "bytes": 10, "previous": None})


def status(segments: int, dropped: int, next_seq: int) -> CameraStatus:
    return CameraStatus(
        id="c",
        name="c",
        target_miou=0.65,
        segment=SegmentFormat(),
        next_seq=next_seq,
        segments=segments,
        dropped=dropped,
        bytes=10 * segments,
        cost_total=1,
        cost_average=None,
        deficit_average=None,
        overuse_average=None,
        last_configuration=None,
    )


def test_a_camera_that_went_on_is_counted_once() -> None:
    before, after = [record(0), record(1)], [record(3), record(4, "late"), record(5)]
    results = [result(0), result(1), result(2), result(3), result(5, (4,))]  # nobody heard of 2's answer
    assert miscounted(before, after, status(5, 1, 6), results) == []


@pytest.mark.parametrize(
    ("after", "counted", "seqs", "words"),
    [
        ([record(3)], status(4, 0, 4), [0, 1, 2, 2], "do not rise"),
        ([record(3)], status(5, 0, 4), [0, 1, 2, 3], "segments is 5, expected is 4"),
        ([record(1)], status(2, 0, 2), [0, 1], "went on with 1"),
        ([record(2)], status(2, 0, 2), [0, 1], "answered and not counted"),
        ([], status(2, 0, 2), [0, 1], "sent nothing"),
    ],
)
def test_what_is_miscounted_is_said(
    after: list[dict[str, object]], counted: CameraStatus, seqs: list[int], words: str
) -> None:
    found = miscounted([record(0), record(1)], after, counted, [result(seq) for seq in seqs])
    assert any(words in line for line in found)
