"""Segments over one connection, against a real application: as with a PUT, whatever happens on the way."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from clients.camera import Camera
from clients.results import Result
from clients.source import VideoSource
from clients.subscription import Results
from clients.uploads import UploadReply
from load_tests.application import RunningApplication
from tests.application.conftest import SEGMENT, SMALL, PlainCamera


@pytest.fixture
def connection(application: RunningApplication, camera: PlainCamera) -> Iterator[ClientConnection]:
    with opened(application, camera, camera.token) as made:
        yield made


def opened(application: RunningApplication, camera: PlainCamera, key: str) -> ClientConnection:
    url = f"{application.url.replace('http', 'ws', 1)}/v1/clients/{camera.id}/upload"
    headers = {"Authorization": f"Bearer {key}"}
    return connect(url, additional_headers=headers, compression=None, max_size=None, close_timeout=1)


def head(camera: PlainCamera, seq: int, size: int = len(SEGMENT), **more: Any) -> str:
    return json.dumps(
        {"kind": "segment", "seq": seq, "size": size, "configuration": 89, "bundle": camera.bundle, **more}
    )


def reply(connection: ClientConnection) -> UploadReply:
    return UploadReply.model_validate_json(connection.recv(60))


def test_segments_are_answered_one_after_the_other_and_once(
    camera: PlainCamera, connection: ClientConnection
) -> None:
    for seq in (0, 1):
        connection.send(head(camera, seq, bandwidth=0.5, masks="last"))
        for start in range(0, len(SEGMENT), 1000):
            connection.send(SEGMENT[start : start + 1000])
    first, second = reply(connection), reply(connection)
    assert [(one.seq, one.status) for one in (first, second)] == [(0, 200), (1, 200)]
    assert first.answer is not None
    assert first.answer.masks is not None
    put = camera.put(0, SEGMENT).json()
    assert put.pop("replayed") is True
    assert put == json.loads(first.answer.model_dump_json(exclude={"replayed"}))
    assert camera.status()["segments"] == 2


@pytest.mark.parametrize(
    ("changes", "status", "slug"),
    [
        ({"bundle": "another"}, 409, "bundle"),
        ({"configuration": 90}, 422, "invalid"),
        ({"dropped": "5:0"}, 422, "invalid"),
        ({"size": 10**9}, 413, "too-large"),
        ({"deadline_ms": 0.01}, 503, "deadline"),
        ({"masks": "some"}, 422, "invalid"),
    ],
)
def test_refusals_are_those_of_a_put_and_the_connection_goes_on(
    camera: PlainCamera, connection: ClientConnection, changes: dict[str, Any], status: int, slug: str
) -> None:
    connection.send(head(camera, 0, **changes))
    connection.send(SEGMENT)
    refused = reply(connection)
    assert refused.status == status
    assert refused.problem is not None
    assert refused.problem.type.endswith(f":{slug}")
    connection.send(head(camera, 1))
    connection.send(SEGMENT)
    assert (reply(connection).status, camera.status()["segments"]) == (200, 1)


def test_a_new_head_gives_up_the_upload_before_it(camera: PlainCamera, connection: ClientConnection) -> None:
    connection.send(head(camera, 0))
    connection.send(SEGMENT[:100])
    connection.send(head(camera, 1))
    connection.send(SEGMENT)
    answered = reply(connection)
    assert (answered.seq, answered.status) == (1, 200)
    assert camera.status()["segments"] == 1


def test_bytes_that_cannot_be_decoded_or_are_too_many_are_refused(
    camera: PlainCamera, connection: ClientConnection
) -> None:
    connection.send(head(camera, 0, size=9))
    connection.send(b"no video.")
    connection.send(head(camera, 1, size=5))
    connection.send(b"no video.")
    assert [(one.seq, one.status) for one in (reply(connection), reply(connection))] == [(0, 422), (1, 422)]


def test_a_camera_that_hangs_up_finds_the_answer_on_its_next_connection(
    application: RunningApplication, camera: PlainCamera
) -> None:
    with opened(application, camera, camera.token) as first:
        first.send(head(camera, 0))
        first.send(SEGMENT)
    with opened(application, camera, camera.token) as second:
        second.send(head(camera, 0))
        second.send(SEGMENT)
        answered = reply(second)
    assert answered.status == 200
    assert camera.status()["segments"] == 1


def test_who_may_not_upload_is_told_so_and_let_in_no_further(
    application: RunningApplication, camera: PlainCamera, new_camera: Callable[..., PlainCamera]
) -> None:
    for key, status in ((f"{'x' * 12}.{'y' * 43}", 401), (new_camera().token, 404)):
        with opened(application, camera, key) as connection:
            refused = reply(connection)
            assert (refused.seq, refused.status) == (None, status)
    assert camera.status()["segments"] == 0


def test_a_camera_sends_a_video_over_one_connection_and_its_results_can_be_read(
    application: RunningApplication,
) -> None:
    source = VideoSource("demo:", seconds=SMALL["seconds"], fps=SMALL["fps"], box=(128, 96))
    camera = Camera(
        source,
        key=application.key,
        server=application.url,
        name=uuid.uuid4().hex,
        policy="fixed:89",
        pace="server",
        segments=5,
        one_connection=True,
    )
    with camera:
        answered = [result.answer for result in camera.run()]
        identity, token = camera.server.registered.id, camera.server.registered.token
    assert all(answer is not None and not answer.replayed for answer in answered)
    found: list[Result] = []
    with Results(identity, key=token, server=application.url, after=-1, masks="last", patience=30) as results:
        for result in results:
            found.append(result)
            if len(found) == 5:
                break
    assert [result.seq for result in found] == [0, 1, 2, 3, 4]
    assert [result.previous for result in found] == [None, 0, 1, 2, 3]
    for result, answer in zip(found, answered, strict=True):
        assert answer is not None
        assert (result.configuration, result.cost) == (89, answer.cost)
        assert result.class_shares == answer.class_shares
        assert result.masks is not None
        assert result.masks.unpack().shape[0] == 1
        assert answer.masks is None  # the camera asked for none


def test_a_reader_that_leaves_gives_its_place_back(
    application: RunningApplication, http: httpx.Client, camera: PlainCamera
) -> None:
    """More readers come one after the other than a tenant may have at once."""
    headers = {"Authorization": f"Bearer {camera.token}"}
    for _ in range(150):  # 64 places a tenant at each of two replicas
        with http.stream("GET", f"/v1/clients/{camera.id}/results", headers=headers) as answer:
            assert answer.status_code == 200
        time.sleep(0.02)


def test_an_audit_goes_over_the_same_connection(camera: PlainCamera, connection: ClientConnection) -> None:
    connection.send(json.dumps({"kind": "audit", "seq": 0, "size": 9, "bundle": camera.bundle}))
    connection.send(b"no video.")
    refused = reply(connection)
    assert (refused.kind, refused.seq, refused.status) == ("audit", 0, 409)  # none was asked for
