"""What is wrong below HTTP's meaning: requests that break off, drip, lie about their length, or are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from clients.protocol import SEGMENT_TYPE
from load_tests.chaos.fuzz.case import Case, Due, Piece, Target, request
from load_tests.chaos.fuzz.requests import SEGMENT_HEADERS, segment_path

DRIP_S = 0.03
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(180))
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\x12\x04\0\0\0\0\0" + b"\0" * 18

Made = tuple[tuple[Piece, ...], Due, bool]
Maker = Callable[[Random, int, bytes, Target], Made]


def wire_case(random: Random, index: int, segments: Sequence[bytes], target: Target) -> Case:
    name = random.choice(list(MAKERS))
    pieces, due, hang_up = MAKERS[name](random, index, random.choice(segments), target)
    return Case(index, "wire", name, pieces, due, hang_up=hang_up)


def _put(index: int, target: Target, body: bytes, *headers: tuple[str, str]) -> bytes:
    return request("PUT", segment_path(index, target), (*SEGMENT_HEADERS, *headers), body, target)


def _broken_off(random: Random, index: int, body: bytes, target: Target) -> Made:
    whole = _put(index, target, body)
    return (Piece(whole[: random.randrange(len(whole))]),), Due.ANYTHING, True


def _hung_up_behind(random: Random, index: int, body: bytes, target: Target) -> Made:
    """All is sent, and nobody waits for the answer."""
    return (Piece(_put(index, target, body)),), Due.ANYTHING, True


def _dripping(random: Random, index: int, body: bytes, target: Target) -> Made:
    """A good segment in small pieces with pauses: slow, and to be answered."""
    whole = _put(index, target, body)
    cuts = sorted(random.randrange(len(whole)) for _ in range(random.randint(2, 12)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    return tuple(Piece(part, DRIP_S) for part in parts if part), Due.ANSWER, False


def _chunked(random: Random, index: int, body: bytes, target: Target) -> Made:
    """A good segment without a length, in chunks of any size."""
    head = _put(index, target, b"", ("Transfer-Encoding", "chunked"), ("Content-Length", ""))
    size = random.choice((1000, 4096, len(body)))
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    data = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return (Piece(head), Piece(data, DRIP_S)), Due.ANSWER, False


def _bad_chunks(random: Random, index: int, body: bytes, target: Target) -> Made:
    head = _put(index, target, b"", ("Transfer-Encoding", "chunked"), ("Content-Length", ""))
    bad = random.choice(
        (
            b"zz\r\n" + body, b"-5\r\n" + body, b"ffffffffffffffff\r\n" + body, b"5\r\nabc\r\n0\r\n\r\n",
            b"5;" + b"x" * 20_000 + b"\r\nabcde\r\n0\r\n\r\n", b"0x5\r\nabcde\r\n0\r\n\r\n",
            b"5\nabcde\n0\n\n",
            b"5\r\nabcdeXX0\r\n\r\n", b"\r\n\r\n",
        )
    )  # fmt: skip
    return (Piece(head + bad),), Due.ANYTHING, random.random() < 0.5


def _wrong_length(random: Random, index: int, body: bytes, target: Target) -> Made:
    """More or less announced than sent; of what is missing, nobody waits for the timeout."""
    length = random.choice(
        (
            str(len(body) + 1000),
            str(len(body) // 2),
            "0",
            "-1",
            "1e3",
            "+5",
            " 7",
            "9" * 30,
            "abc",
            "1, 2",
            "٣",
        )
    )
    return (Piece(_put(index, target, body, ("Content-Length", length))),), Due.ANYTHING, True


def _two_lengths(random: Random, index: int, body: bytes, target: Target) -> Made:
    """What smuggles requests past proxies."""
    other = random.choice(
        (
            ("Content-Length", str(len(body) + 5)), ("Transfer-Encoding", "chunked"),
            ("Transfer-Encoding", "identity"), ("Transfer-Encoding", "gzip, chunked"),
            ("Transfer-Encoding", " chunked"), ("Transfer-encoding", "xchunked"),
        )
    )  # fmt: skip
    sent = _put(index, target, body, ("Content-Length", str(len(body))), other)
    return (Piece(sent),), Due.ANYTHING, True


def _head_cut_into(random: Random, index: int, body: bytes, target: Target) -> Made:
    """Bytes of the head are damaged."""
    whole = bytearray(_put(index, target, body))
    end = whole.index(b"\r\n\r\n")
    for _ in range(random.choice((1, 2, 8))):
        whole[random.randrange(end)] = random.choice((0, 10, 13, 32, 58, 127, 255, random.randrange(256)))
    return (Piece(bytes(whole)),), Due.ANYTHING, True


def _long_head(random: Random, index: int, body: bytes, target: Target) -> Made:
    extra = random.choice(
        (
            [("X-Long", "a" * random.choice((8000, 70_000, 300_000)))],
            [(f"X-{i}", "a") for i in range(random.choice((60, 500, 3000)))],
            [("Cookie", "; ".join(f"c{i}=v" for i in range(4000)))],
        )
    )
    return (Piece(_put(index, target, body, *extra)),), Due.ANYTHING, False


def _no_http(random: Random, index: int, body: bytes, target: Target) -> Made:
    junk = random.choice(
        (
            TLS_HELLO, H2_PREFACE, random.randbytes(200), b"\r\n" * 50 + b"\0", b"GET /\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n", b"GET  /  HTTP/1.1\r\nHost x\r\n\r\n", b"\x05\x01\x00",
            b"SSH-2.0-x\r\n",
            b"GET / HTTP/1.1\r\n" + b" folded: x\r\n" * 3 + b"\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT http://" + target.address.encode() + b"/v1/clients HTTP/1.1\r\nHost: other\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", body[:500],
        )
    )  # fmt: skip
    return (Piece(junk),), Due.ANYTHING, True


def _two_in_one(random: Random, index: int, body: bytes, target: Target) -> Made:
    """Two requests at once on one connection, the second of any kind."""
    first = _put(index, target, body, ("Connection", "keep-alive"))
    second = random.choice((request("GET", "/healthz", (), None, target), random.randbytes(64), b"\0" * 64))
    return (Piece(first + second),), Due.ANYTHING, False


def _expecting(random: Random, index: int, body: bytes, target: Target) -> Made:
    whole = _put(index, target, body, ("Expect", random.choice(("100-continue", "200-ok"))))
    end = whole.index(b"\r\n\r\n") + 4
    return (Piece(whole[:end]), Piece(whole[end:], DRIP_S)), Due.ANYTHING, False


def _upgrading(random: Random, index: int, body: bytes, target: Target) -> Made:
    to = random.choice(("websocket", "h2c", "TLS/1.0", SEGMENT_TYPE))
    sent = _put(index, target, body, ("Connection", "Upgrade"), ("Upgrade", to))
    return (Piece(sent),), Due.ANYTHING, True


MAKERS: dict[str, Maker] = {
    "broken off": _broken_off,
    "hung up behind": _hung_up_behind,
    "dripping": _dripping,
    "chunked": _chunked,
    "bad chunks": _bad_chunks,
    "wrong length": _wrong_length,
    "two lengths": _two_lengths,
    "damaged head": _head_cut_into,
    "long head": _long_head,
    "no HTTP": _no_http,
    "two in one": _two_in_one,
    "expecting": _expecting,
    "upgrading": _upgrading,
}
