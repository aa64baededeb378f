"""Sends a case over a connection of its own, and reads what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

import h11
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from load_tests.chaos.fuzz.case import Case, Due
from load_tests.chaos.fuzz.sockets import HANDSHAKE, frame

ANSWER_S = 60.0
"""Longer than any part of the service may take to refuse."""
ENOUGH = 64 * 2**10
"""Of an answer that goes on; what is looked at is its head and its problem document."""
QUIET_S = 0.4
"""After so long without a message nothing more is expected on a WebSocket where nothing is due."""
CLOSING_S = 5.0
STEP = 2**16
SOCKETS = (Due.REPLY, Due.SOCKET)


@dataclass(slots=True)
class Heard:
    """What came back. `status` 0: no HTTP answer at all."""

    status: int = 0
    media_type: str = ""
    body: bytes = b""
    messages: list[str] = field(default_factory=list)
    close_code: int | None = None
    silent: bool = False
    """Nothing came in time, though the connection stayed open."""
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    """A WebSocket's handshake was answered."""


async def exchange(case: Case, host: str, port: int) -> Heard:
    """Raises `OSError` where nothing listens."""
    reader, writer = await asyncio.open_connection(host, port, limit=STEP)
    try:
        reading = _converse if case.due in SOCKETS else _read_answer
        heard = Heard()
        sending = asyncio.create_task(_send(case, writer, heard))
        try:
            if case.hang_up and case.due not in SOCKETS:
                await sending
            else:
                async with asyncio.timeout(ANSWER_S):
                    await reading(case, reader, writer, heard)
        except TimeoutError:
            heard.silent = True
        except (OSError, h11.RemoteProtocolError):
            pass
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending
        return heard
    finally:
        writer.close()


async def _send(case: Case, writer: asyncio.StreamWriter, heard: Heard) -> None:
    with contextlib.suppress(OSError):  # refused before all was sent; what was answered counts
        for piece in case.pieces:
            if piece.opened:
                await heard.opened.wait()
            if piece.pause_s:
                await asyncio.sleep(piece.pause_s)
            writer.write(piece.data)
            await writer.drain()


async def _read_answer(
    case: Case, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Heard
) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=STEP)
    method = case.method if case.method.isalpha() and case.method.isupper() else "GET"
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(STEP))
        elif isinstance(event, h11.Response):
            heard.status = event.status_code
            names = dict(event.headers)
            heard.media_type = names.get(b"content-type", b"").decode("latin-1").partition(";")[0]
            if case.due is Due.HEAD and heard.status == 200:
                return
        elif isinstance(event, h11.Data):
            heard.body = (heard.body + bytes(event.data))[:ENOUGH]
        elif not isinstance(event, h11.InformationalResponse):
            return


async def _converse(
    case: Case, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Heard
) -> None:
    """Reads messages until a reply has come, or it has been quiet for long enough; then closes."""
    protocol = ClientProtocol(parse_uri("ws://x/"))
    opening = protocol.connect()
    opening.headers["Sec-WebSocket-Key"] = protocol.key = dict(HANDSHAKE)["Sec-WebSocket-Key"]
    protocol.send_request(opening)
    protocol.data_to_send()  # the case's own opening went out instead
    while not heard.messages and heard.close_code is None:
        waits = ANSWER_S if case.due is Due.REPLY or not heard.opened.is_set() else QUIET_S
        try:
            async with asyncio.timeout(waits):
                data = await reader.read(STEP)
        except TimeoutError:
            if waits == ANSWER_S:
                raise
            break
        if not data:
            return
        _take(protocol, data, writer, heard)
        if case.hang_up and heard.opened.is_set():
            await asyncio.sleep(QUIET_S / 4)
            return
    await _close(protocol, reader, writer, heard)


def _take(protocol: ClientProtocol, data: bytes, writer: asyncio.StreamWriter, heard: Heard) -> None:
    protocol.receive_data(data)
    for event in protocol.events_received():
        if isinstance(event, Response):
            heard.status = event.status_code
            heard.opened.set()
        elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
            heard.messages.append(bytes(event.data).decode("utf-8", "replace"))
    if protocol.close_rcvd is not None:
        heard.close_code = protocol.close_rcvd.code
    writer.writelines(protocol.data_to_send())  # pongs, and the echo of a close


async def _close(
    protocol: ClientProtocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Heard
) -> None:
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(CLOSING_S):
            writer.write(frame(Opcode.CLOSE, b"\x03\xe8"))
            while data := await reader.read(STEP):
                _take(protocol, data, writer, heard)
