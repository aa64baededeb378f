"""What is wrong on a connection for uploads: heads, sizes, the order of messages, and frames."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from websockets.frames import Opcode

from load_tests.chaos.fuzz.bodies import mutated
from load_tests.chaos.fuzz.case import Case, Due, Piece, Target, request
from load_tests.chaos.fuzz.values import damaged_json, node

HANDSHAKE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)

Made = tuple[bytes, Due]
Maker = Callable[[Random, int, Sequence[bytes], Target], Made]


def socket_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    name = random.choice(list(MAKERS))
    frames, due = MAKERS[name](random, index, segments, target)
    handshake = list(HANDSHAKE)
    if name == "handshake":
        at = random.randrange(len(handshake))
        handshake[at] = (handshake[at][0], random.choice(("", "x", "12", "a" * 5000, "websocket, h2c")))
    opening = request("GET", f"/v1/clients/{target.camera}/upload", handshake, None, target)
    hang_up = name == "hung up"
    in_turn = Piece(frames, opened=name != "too early")
    pieces = (Piece(opening), in_turn) if frames else (Piece(opening),)
    return Case(index, "socket", name, pieces, due, "GET", hang_up)


def frame(opcode: Opcode, data: bytes, end: bool = True) -> bytes:
    """One masked frame, as clients send them; its mask is zero: a case is the same bytes each time."""
    first, size = opcode | (0x80 if end else 0), len(data)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 2**16:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + b"\0\0\0\0" + data


def _head(index: int, size: int, target: Target) -> dict[str, Any]:
    return {
        "kind": "segment",
        "seq": index,
        "size": size,
        "configuration": target.configuration,
        "bundle": target.bundle,
    }


def _text(document: dict[str, Any]) -> bytes:
    return frame(Opcode.TEXT, json.dumps(document).encode("utf-8", "surrogatepass"))


def _damaged_segment(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body, _ = mutated(random, segments)
    body = body or b"\0"
    return _text(_head(index, len(body), target)) + frame(Opcode.BINARY, body), Due.REPLY


def _damaged_head(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body = random.choice(segments)
    head, _ = damaged_json(random, _head(index, len(body), target))
    return frame(Opcode.TEXT, head) + frame(Opcode.BINARY, body), Due.SOCKET


def _strange_field(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body = random.choice(segments)
    head = _head(index, len(body), target)
    head[random.choice((*head, "dropped", "masks", "seen", "deadline_ms", "feedback"))] = node(random)
    return _text(head) + frame(Opcode.BINARY, body), Due.SOCKET


def _wrong_size(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body = random.choice(segments)
    size = random.choice((1, len(body) - 1, len(body) + 1, 2**31, 2**63))
    return _text(_head(index, size, target)) + frame(Opcode.BINARY, body), Due.SOCKET


def _in_fragments(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    """A good segment in many messages, of many frames, with pings between them."""
    body = random.choice(segments)
    size = random.choice((200, 1000))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    frames = _text(_head(index, len(body), target))
    for part in parts:
        half = len(part) // 2
        frames += frame(Opcode.BINARY, part[:half], end=False) + frame(Opcode.PING, b"p")
        frames += frame(Opcode.CONT, part[half:])
    return frames, Due.REPLY


def _out_of_order(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body = random.choice(segments)
    kinds = {
        "head": _text(_head(index, len(body), target)),
        "body": frame(Opcode.BINARY, body),
        "audit": _text({"kind": "audit", "seq": index, "size": 10, "bundle": target.bundle}),
        "empty": frame(Opcode.BINARY, b""),
        "nothing": frame(Opcode.TEXT, b""),
    }
    return b"".join(kinds[random.choice(list(kinds))] for _ in range(random.randint(2, 8))), Due.SOCKET


def _bad_frames(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    bad = random.choice(
        (
            frame(Opcode.TEXT, b"\xff\xfe\xfd"), frame(Opcode.CONT, b"x"), frame(Opcode.CLOSE, b"\x03"),
            frame(Opcode.CLOSE, struct.pack(">H", random.choice((0, 999, 1005, 1006, 5000)))),
            b"\xc1" + frame(Opcode.TEXT, b"{}")[1:], b"\x83" + frame(Opcode.TEXT, b"{}")[1:],
            b"\x81\x02{}", b"\x82\xff" + struct.pack(">Q", 2**63) + b"abcd", b"\x82\xff" + b"\xff" * 8,
            b"\x09\x80abcd", frame(Opcode.PING, b"p" * 125) * 50, random.randbytes(64),
            frame(Opcode.TEXT, b"{", end=False) + frame(Opcode.TEXT, b"}"),
            frame(Opcode.BINARY, b"\0" * (2**20 + 1)), frame(Opcode.TEXT, b"[" * 200_000),
        )
    )  # fmt: skip
    good = _text(_head(index, 10, target)) if random.random() < 0.5 else b""
    return good + bad, Due.SOCKET


def _hung_up(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    body = random.choice(segments)
    whole = _text(_head(index, len(body), target)) + frame(Opcode.BINARY, body)
    return whole[: random.choice((random.randrange(len(whole)), len(whole)))], Due.SOCKET


def _too_early(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    """Messages before the connection is open: no client may do so."""
    frames, _ = random.choice((_damaged_segment, _in_fragments))(random, index, segments, target)
    return frames, Due.SOCKET


def _handshake(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Made:
    return b"", Due.ANYTHING


MAKERS: dict[str, Maker] = {
    "damaged segment": _damaged_segment,
    "damaged head": _damaged_head,
    "strange field": _strange_field,
    "wrong size": _wrong_size,
    "in fragments": _in_fragments,
    "out of order": _out_of_order,
    "bad frames": _bad_frames,
    "hung up": _hung_up,
    "too early": _too_early,
    "handshake": _handshake,
}
