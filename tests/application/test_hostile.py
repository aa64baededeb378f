"""Hostile requests: each gets its clear 4xx, and the application is as well afterwards as before."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

from clients.codec import encode_segment
from configs.ladder import CompressionSetting
from load_tests.application import RunningApplication
from tests.application import crafted
from tests.application.conftest import FRAMES, HEIGHT, SEGMENT, WIDTH, PlainCamera, frames

HALF = frames(FRAMES, WIDTH // 2, HEIGHT // 2)
MEGABYTE = 2**20
GROWTH_LIMIT = 96 * MEGABYTE


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """A local port that nothing may ever connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@dataclass
class Attack:
    """What the cases below may use."""

    camera: PlainCamera
    other: PlainCamera
    key: str
    trap_url: str

    @property
    def http(self) -> httpx.Client:
        return self.camera.http

    def put(self, body: object, **arguments: object) -> httpx.Response:
        return self.camera.put(1, body, **arguments)  # type: ignore[arg-type]

    def register(self, content: bytes | None = None, **json: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        if content is not None:
            return self.http.post("/v1/clients", content=content, headers=headers)
        return self.http.post("/v1/clients", json=json, headers=headers)


@pytest.fixture(scope="module")
def attack(
    application: RunningApplication, new_camera: Callable[..., PlainCamera], trap: socket.socket
) -> Attack:
    camera, other = new_camera(), new_camera()
    camera.put(0, SEGMENT).raise_for_status()
    return Attack(camera, other, application.key, f"http://127.0.0.1:{trap.getsockname()[1]}/x.mp4")


def pieces(total: int, size: int = MEGABYTE) -> Iterator[bytes]:
    """A body without a length, so it is sent in chunks."""
    for _ in range(0, total, size):
        yield b"\x00" * size


Case = Callable[[Attack], httpx.Response]
BODIES: dict[str, tuple[int, Case]] = {
    "no bytes": (422, lambda a: a.put(b"")),
    "one byte": (422, lambda a: a.put(b"\x00")),
    "cut after 100 bytes": (422, lambda a: a.put(SEGMENT[:100])),
    "cut in half": (422, lambda a: a.put(SEGMENT[: len(SEGMENT) // 2])),
    "cut before its last byte": (422, lambda a: a.put(SEGMENT[: -len(SEGMENT) // 4])),
    "index flipped": (422, lambda a: a.put(crafted.flipped(SEGMENT, range(-600, -1)))),
    "all flipped": (422, lambda a: a.put(crafted.flipped(SEGMENT, range(len(SEGMENT))))),
    "noise": (422, lambda a: a.put(np.random.default_rng(0).bytes(50_000))),
    "a matroska file": (422, lambda a: a.put(crafted.encode(HALF, "matroska"))),
    "an avi file": (422, lambda a: a.put(crafted.encode(HALF, "avi"))),
    "a transport stream": (422, lambda a: a.put(crafted.encode(HALF, "mpegts"))),
    "bare H.264": (422, lambda a: a.put(crafted.encode(HALF, "h264"))),
    "MPEG-4 in mp4": (422, lambda a: a.put(crafted.encode(HALF, codec="mpeg4"))),
    "two videos": (422, lambda a: a.put(crafted.encode(HALF, streams=2))),
    "video with sound": (422, lambda a: a.put(crafted.encode(HALF, audio=True))),
    "sound alone": (422, lambda a: a.put(crafted.sound_only())),
    "100 MB announced": (413, lambda a: a.put(b"\x00" * (100 * MEGABYTE))),
    "16384x16384 in the header": (422, lambda a: a.put(crafted.with_size(SEGMENT, 16384, 16384))),
    "another size in the header": (422, lambda a: a.put(crafted.with_size(SEGMENT, 640, 480))),
    "10 000 frames": (
        422,
        lambda a: a.put(encode_segment(HALF[:1] * 10_000, CompressionSetting(1.0, 51), 15)),
    ),
    "one frame too few": (422, lambda a: a.put(encode_segment(HALF[:-1], CompressionSetting(1.0, 30), 15))),
    "one frame too many": (
        422,
        lambda a: a.put(encode_segment(HALF + HALF[:1], CompressionSetting(1.0, 30), 15)),
    ),
    "full size where half was said": (
        422,
        lambda a: a.put(encode_segment(frames(), CompressionSetting(1.0, 30), 15)),
    ),
    "a PNG": (422, lambda a: a.put(crafted.png())),
    "text": (422, lambda a: a.put(b"select * from cameras; --" * 100)),
    "an HLS playlist": (
        422,
        lambda a: a.put(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{a.trap_url}\n".encode()),
    ),
    "a concat script": (422, lambda a: a.put(f"ffconcat version 1.0\nfile '{a.trap_url}'\n".encode())),
    "an mp4 whose samples lie elsewhere": (
        422,
        lambda a: a.put(crafted.with_external_reference(SEGMENT, a.trap_url)),
    ),
    "an mp4 whose samples lie in a file": (
        422,
        lambda a: a.put(crafted.with_external_reference(SEGMENT, "file:///etc/passwd")),
    ),
}
QUERIES: dict[str, tuple[int, Case]] = {
    "configuration -1": (422, lambda a: a.put(SEGMENT, configuration=-1)),
    "configuration 90": (422, lambda a: a.put(SEGMENT, configuration=90)),
    "configuration 1e9": (422, lambda a: a.put(SEGMENT, configuration=10**9)),
    "configuration of letters": (422, lambda a: a.put(SEGMENT, configuration="best")),
    "no configuration": (422, lambda a: a.put(SEGMENT, configuration=None)),
    "no bundle": (422, lambda a: a.put(SEGMENT, bundle=None)),
    "wrong bundle": (409, lambda a: a.put(SEGMENT, bundle="lite-000000000000")),
    "bundle of 10 kB": (422, lambda a: a.put(SEGMENT, bundle="x" * 10_000)),
    "bandwidth NaN": (422, lambda a: a.put(SEGMENT, bandwidth="nan")),
    "bandwidth infinite": (422, lambda a: a.put(SEGMENT, bandwidth="inf")),
    "bandwidth negative": (422, lambda a: a.put(SEGMENT, bandwidth=-1)),
    "target 2": (422, lambda a: a.put(SEGMENT, target=2)),
    "target NaN": (422, lambda a: a.put(SEGMENT, target="nan")),
    "deadline 0": (422, lambda a: a.put(SEGMENT, deadline_ms=0)),
    "deadline negative": (422, lambda a: a.put(SEGMENT, deadline_ms=-5)),
    "captured at NaN": (422, lambda a: a.put(SEGMENT, captured_at="nan")),
    "dropped of letters": (422, lambda a: a.put(SEGMENT, dropped="all of them")),
    "dropped later ones": (422, lambda a: a.put(SEGMENT, dropped="7:1")),
    "dropped twice": (422, lambda a: a.put(SEGMENT, dropped="0:1,0:2")),
    "dropped at no configuration": (422, lambda a: a.put(SEGMENT, dropped="0:90")),
    "masks unheard of": (422, lambda a: a.put(SEGMENT, masks="../../etc")),
    "seq -1": (422, lambda a: a.camera.put(-1, SEGMENT)),
    "seq above 2^53": (422, lambda a: a.camera.put(2**53, SEGMENT)),
    "seq of 30 digits": (422, lambda a: a.camera.put(10**30, SEGMENT)),
    "seq of letters": (422, lambda a: a.camera.put("last", SEGMENT)),
    "seq fractional": (422, lambda a: a.camera.put("1.5", SEGMENT)),
}
WHO: dict[str, tuple[int, Case]] = {
    "no key": (401, lambda a: a.put(SEGMENT, headers={"Authorization": ""})),
    "a key without a secret": (401, lambda a: a.put(SEGMENT, headers={"Authorization": "Bearer abcdefgh"})),
    "a key of the right form": (
        401,
        lambda a: a.put(SEGMENT, headers={"Authorization": f"Bearer {'a' * 12}.{'b' * 43}"}),
    ),
    "another scheme": (401, lambda a: a.put(SEGMENT, headers={"Authorization": f"Basic {a.key}"})),
    "a key of 8 kB": (401, lambda a: a.put(SEGMENT, headers={"Authorization": "Bearer " + "a" * 8000})),
    "another camera's token": (
        404,
        lambda a: a.put(SEGMENT, headers={"Authorization": f"Bearer {a.other.token}"}),
    ),
    "an unknown camera": (
        404,
        lambda a: a.http.get("/v1/clients/nobody", headers={"Authorization": f"Bearer {a.key}"}),
    ),
    "an id of 10 kB": (
        422,
        lambda a: a.http.get("/v1/clients/" + "x" * 10_000, headers={"Authorization": f"Bearer {a.key}"}),
    ),
    "an id that climbs": (
        404,
        lambda a: a.http.get("/v1/clients/..%2f..%2fetc", headers={"Authorization": f"Bearer {a.key}"}),
    ),
    "a camera that registers cameras": (
        404,
        lambda a: a.http.post(
            "/v1/clients", json={"name": "x"}, headers={"Authorization": f"Bearer {a.camera.token}"}
        ),
    ),
    "a camera that deletes itself": (
        404,
        lambda a: a.http.delete(
            f"/v1/clients/{a.camera.id}", headers={"Authorization": f"Bearer {a.camera.token}"}
        ),
    ),
    "no media type": (415, lambda a: a.put(SEGMENT, headers={"Content-Type": ""})),
    "text as media type": (415, lambda a: a.put(SEGMENT, headers={"Content-Type": "text/plain"})),
    "multipart": (415, lambda a: a.put(SEGMENT, headers={"Content-Type": "multipart/form-data; boundary=x"})),
    "an unknown route": (404, lambda a: a.http.get("/v1/secrets")),
    "a wrong method": (405, lambda a: a.http.post(f"/v1/clients/{a.camera.id}/segments/1", content=b"x")),
}
REGISTRATIONS: dict[str, tuple[int, Case]] = {
    "no JSON": (422, lambda a: a.register(b"{")),
    "JSON of 1 MB": (413, lambda a: a.register(b'{"name": "' + b"x" * MEGABYTE + b'"}')),
    "JSON nested deep": (422, lambda a: a.register(b"[" * 50_000)),
    "a list": (422, lambda a: a.register(b"[]")),
    "no name": (422, lambda a: a.register(b"{}")),
    "an empty name": (422, lambda a: a.register(name="")),
    "a name of 10 kB": (422, lambda a: a.register(name="x" * 10_000)),
    "a name with control characters": (422, lambda a: a.register(name="a\x00b\r\n")),
    "target NaN at registration": (422, lambda a: a.register(b'{"name": "x", "target_miou": NaN}')),
    "frames 100 000 wide": (422, lambda a: a.register(name="x", segment={"width": 100_000})),
    "an odd width": (422, lambda a: a.register(name="x", segment={"width": 641})),
    "segments of no time": (422, lambda a: a.register(name="x", segment={"seconds": 0})),
    "segments of 1200 frames": (422, lambda a: a.register(name="x", segment={"seconds": 10, "fps": 120})),
    "a field unheard of": (422, lambda a: a.register(name="x", admin=True)),
}
CASES = BODIES | QUERIES | WHO | REGISTRATIONS


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_request_gets_its_clear_refusal(attack: Attack, name: str) -> None:
    expected, send = CASES[name]
    answer = send(attack)
    assert answer.status_code == expected, answer.text
    document = answer.json()
    assert document["status"] == expected
    assert len(document["detail"]) > 20


def test_there_are_many_of_them() -> None:
    assert len(CASES) >= 50


def test_a_stale_seq_is_refused(attack: Attack, new_camera: Callable[..., PlainCamera]) -> None:
    camera = new_camera()
    camera.put(9, SEGMENT).raise_for_status()
    assert camera.put(4, SEGMENT).status_code == 409


def test_a_huge_but_valid_seq_is_an_ordinary_segment(new_camera: Callable[..., PlainCamera]) -> None:
    camera = new_camera()
    assert camera.put(2**53 - 1, SEGMENT).status_code == 200
    assert camera.put(2**53 - 1, SEGMENT).json()["replayed"]


def test_a_body_without_an_end_is_refused_before_it_is_kept(attack: Attack) -> None:
    """Chunks go on until the server has had enough; it must say so, and soon."""
    address = urlsplit(str(attack.http.base_url))
    head = (
        f"PUT /v1/clients/{attack.camera.id}/segments/1?configuration=89&bundle={attack.camera.bundle} "
        "HTTP/1.1\r\n"
        f"Host: {address.netloc}\r\nAuthorization: Bearer {attack.camera.token}\r\n"
        "Content-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b"\x00" * 0x10000 + b"\r\n"
    sent, answer = 0, b""
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.encode())
        connection.settimeout(0.05)
        for _ in range(100 * MEGABYTE // len(chunk)):
            try:
                connection.sendall(chunk)
                sent += len(chunk)
                answer = connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
    assert b" 413 " in answer.split(b"\r\n")[0]
    assert sent < 64 * MEGABYTE


def test_a_chunked_body_of_100_megabytes_is_refused(attack: Attack) -> None:
    # The refusal may close the connection while the body is still being sent.
    with contextlib.suppress(httpx.TransportError):
        assert attack.put(pieces(100 * MEGABYTE)).status_code == 413


def test_an_upload_that_is_broken_off_leaves_the_segment_free(attack: Attack) -> None:
    def broken() -> Iterator[bytes]:
        yield SEGMENT[:100]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        attack.camera.put(1, broken())


def test_nothing_ever_connected_to_the_trap(attack: Attack, trap: socket.socket) -> None:
    time.sleep(0.5)
    with pytest.raises(BlockingIOError):
        trap.accept()


def test_memory_is_back_where_it_was_and_the_next_good_segment_is_answered(
    application: RunningApplication, attack: Attack
) -> None:
    before = resident(application)
    for _, send in CASES.values():
        send(attack)
    time.sleep(2)
    assert resident(application) < before + GROWTH_LIMIT
    assert attack.http.get("/readyz").status_code == 200
    status = attack.camera.status()
    assert (status["segments"], status["next_seq"]) == (1, 1)
    assert attack.camera.put(1, SEGMENT).status_code == 200


def resident(application: RunningApplication) -> int:
    """Bytes of private memory of the whole application, decoders and database included."""
    root = psutil.Process(application.pid)
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += memory.uss
    assert total > 100 * MEGABYTE, os.getpid()
    return total
