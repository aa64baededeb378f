"""One connection for all of a camera's segments, where opening one for each costs too much: a WebSocket.

Each segment or audit is a head (a text message of JSON: `kind`, `seq`, `size`, and what a PUT has in its
query) and its bytes (binary messages, `size` in all, a mebibyte each at most). The reply is a text message,
`UploadReply`. A new head while bytes are still due gives that upload up. Everything else, admission, quotas,
exactly once, is as with a PUT.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from clients.errors import RefusedByServer, ServerUnreachable
from clients.protocol import Message, Problem, SegmentAnswer

MOST_REPLY = 64 * 2**20
CLOSING_S = 1.0

Kind = Literal["segment", "audit"]
Socket = Callable[[str, int], socket.socket]


class UploadReply(Message):
    """What became of one upload, with the status that a PUT would have had."""

    seq: int | None = Field(description="null where the head could not be read")
    kind: Kind = "segment"
    status: int
    answer: SegmentAnswer | None = None
    problem: Problem | None = None


class UploadConnection:
    """Sends one after the other; opened when first needed, and again after it broke."""

    def __init__(self, url: str, token: str, connected: Socket, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._url = url.replace("http", "ws", 1)
        self._token, self._connected, self._timeout_s = token, connected, timeout_s
        self._connection: ClientConnection | None = None
        self._opened = ExitStack()

    def send(
        self, kind: Kind, seq: int, size: int, body: Iterable[bytes], head: Mapping[str, object]
    ) -> UploadReply:
        """Sends one upload and waits for its reply. Raises `ServerUnreachable`, and what `body` raises: the
        next upload then gives this one up."""
        try:
            connection = self._open()
            connection.send(json.dumps({"kind": kind, "seq": seq, "size": size, **head}))
            for chunk in body:
                connection.send(chunk)
            return self._reply(connection, kind, seq)
        except InvalidStatus as error:
            status = error.response.status_code
            if status >= 500:
                raise ServerUnreachable(f"no answer from behind {self._url} ({status})") from error
            raise RefusedByServer(_no_uploads(status)) from error
        except (WebSocketException, OSError) as error:
            self.close()
            raise ServerUnreachable(f"no answer from {self._url} ({error})") from error

    def close(self) -> None:
        self._connection = None
        self._opened.close()

    def _open(self) -> ClientConnection:
        if self._connection is None:
            connecting = connect(
                self._url,
                sock=self._connected(self._host, self._port),
                ssl=ssl.create_default_context() if self._secure else None,
                server_hostname=self._host if self._secure else None,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                compression=None,  # video does not get smaller
                proxy=None,
                max_size=MOST_REPLY,
                close_timeout=CLOSING_S,
            )
            self._connection = self._opened.enter_context(connecting)
        return self._connection

    def _reply(self, connection: ClientConnection, kind: Kind, seq: int) -> UploadReply:
        ends = time.monotonic() + self._timeout_s
        while True:
            text = connection.recv(max(0.0, ends - time.monotonic()))
            reply = UploadReply.model_validate_json(text)
            if reply.seq is None:  # of the connection as a whole, which ends with it
                self.close()
            if reply.seq is None or (reply.kind, reply.seq) == (kind, seq):
                return reply


def _no_uploads(status: int) -> Problem:
    return Problem(
        type="urn:penance:problem:foreign",
        title="No connection for uploads",
        status=status,
        detail="The server, or a proxy before it, opens no WebSocket. Send each segment in its own request.",
    )
