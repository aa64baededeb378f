"""One case of a fuzzing run: the bytes that go over a connection of its own, and what is due for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Due(StrEnum):
    """What a case must be answered with."""

    ANSWER = "answer"
    """A whole HTTP answer; a refusal as a problem document."""
    HEAD = "head"
    """At least the head of an answer, which may go on for ever."""
    ANYTHING = "anything"
    """The bytes are no valid HTTP, or the case hangs up: an answer, or a closed connection."""
    REPLY = "reply"
    """A reply on a WebSocket."""
    SOCKET = "socket"
    """The WebSocket is closed by the protocol, or there are replies."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes, and what to wait for before they are sent: seconds, or a WebSocket's opening."""

    data: bytes
    pause_s: float = 0.0
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a case is sent to. `victim` is a second camera, whose state may be changed at will."""

    address: str
    key: str
    tenant: str
    camera: str
    token: str
    victim: str
    bundle: str
    configuration: int


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent. `hang_up`: the connection is closed behind the last piece, without waiting."""

    index: int
    family: str
    what: str
    pieces: tuple[Piece, ...]
    due: Due
    method: str = "PUT"
    hang_up: bool = False


def request(
    method: str,
    path: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    target: Target,
    token: str | None = None,
) -> bytes:
    """A well-formed HTTP/1.1 request; a header that is given replaces the usual one of its name, and one
    without a value leaves it out."""
    usual = {
        "Host": target.address,
        "Authorization": f"Bearer {token or target.token}",
        "Connection": "close",
    }
    if body is not None:
        usual["Content-Length"] = str(len(body))
    given = {name.lower() for name, _ in headers}
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in usual.items() if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in headers if value]
    # what cannot be said in latin-1 is sent as UTF-8, as clients do that do not know better
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1" if head.isascii() else "utf-8", "surrogatepass") + (body or b"")
