"""A list of addresses: the one in use stays in use while it answers, then it is the next one's turn."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.addresses import MOST, Addresses
from clients.camera import Camera
from clients.connection import ANSWER_TIMEOUT, GONE_S, NO_ANSWER, _connected
from clients.source import VideoSource
from tests.clients.peer import KEY, Peer

names = st.lists(st.from_regex(r"[a-z]{1,8}:\d{1,4}", fullmatch=True), min_size=1, max_size=MOST, unique=True)


@given(names, st.integers(0, 40))
def test_after_each_failure_it_is_the_next_ones_turn(given_names: list[str], failures: int) -> None:
    addresses = Addresses(",".join(given_names))
    for _ in range(failures):
        addresses.failed(addresses.current)
    assert addresses.current == f"http://{given_names[failures % len(given_names)]}"


@given(names)
def test_a_failure_that_another_thread_took_in_already_changes_nothing(given_names: list[str]) -> None:
    addresses = Addresses(" , ".join(given_names))
    first = addresses.current
    addresses.failed(first)
    moved = addresses.current
    addresses.failed(first)
    assert addresses.current == (moved if len(given_names) > 1 else first)


@pytest.mark.parametrize("given_text", ["", " , ", ",".join(f"h{i}" for i in range(MOST + 1))])
def test_none_and_too_many_are_refused(given_text: str) -> None:
    with pytest.raises(ValueError, match="give one to 16 addresses"):
        Addresses(given_text)


def test_a_camera_finds_the_address_that_answers(peer: Peer, video: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        made = camera(f"127.0.0.1:{closed.getsockname()[1]},{peer.url}", video)
        with made:
            results = list(made.run())
    assert [r.seq for r in results] == [0, 1, 2, 3]
    assert all(r.answer for r in results)


@pytest.mark.parametrize("status", NO_ANSWER)
def test_where_one_address_stops_answering_a_camera_goes_on_at_the_next_under_the_same_number(
    video: Path, status: int
) -> None:
    with Peer() as first, Peer() as second:
        second.register({"name": "gate", "target_miou": None})
        tried: list[int] = []

        def gone(seq: int, query: dict[str, str]) -> int | None:
            tried.append(seq)
            return status if seq >= 2 else None

        first.fault = gone
        with camera(f"{first.url},{second.url}", video) as made:
            results = list(made.run())
        assert [seq for seq, _, _ in first.received] == [0, 1]
        assert [seq for seq, _, _ in second.received] == [2, 3]
    assert tried == [0, 1, 2]
    assert [r.attempts for r in results] == [1, 1, 2, 1]


def test_a_proxy_that_was_told_of_no_application_yet_is_asked_again(peer: Peer, video: Path) -> None:
    """Such a one answers 404 to everything, without a problem document."""
    tried: list[int] = []

    def just_started(seq: int, query: dict[str, str]) -> str | None:
        tried.append(seq)
        return "no such path" if tried.count(seq) == 1 else None

    peer.fault = just_started
    with camera(peer.url, video) as made:
        results = list(made.run())
    assert tried == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(r.answer for r in results)


def camera(server: str, video: Path) -> Camera:
    source = VideoSource(str(video), box=(64, 48))
    return Camera(
        source,
        key=KEY,
        server=server,
        name="gate",
        pace="server",
        patience=20.0,
        policy="fixed:0",
    )


def test_a_server_that_vanishes_is_noticed_long_before_an_answer_would_be_due() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        _connected("127.0.0.1", listener.getsockname()[1]) as made,
    ):
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, interval, count = (
            made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in GONE_S
        )
    assert idle + interval * count < ANSWER_TIMEOUT / 4
