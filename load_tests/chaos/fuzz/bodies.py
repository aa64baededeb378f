"""Mutations of a segment's bytes: what a bad link, a broken encoder or an attacker would send.

Each is a pure function of a random source and good segments. Many hit the index (`moov`), which decides how
far a demuxer gets; others leave it whole, so that the H.264 decoder meets the damage.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random

from load_tests.chaos.fuzz.boxes import HEADER, Box, boxes

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]

EXTREMES = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF)
KINDS = (b"moov", b"trak", b"mdat", b"stsz", b"stco", b"co64", b"stts", b"ctts", b"stsc", b"stss", b"elst")
OTHER_KINDS = (b"cmov", b"moof", b"sidx", b"meta", b"uuid", b"free", b"sinf", b"pssh", b"cmvd", b"\0\0\0\0")
LONGEST = 256
MOST = 4
"""Mutations that one body gets, at most."""


def mutated(random: Random, segments: Sequence[bytes]) -> tuple[bytes, str]:
    """A damaged segment, and what was done to it."""
    data, done = random.choice(segments), list[str]()
    for _ in range(random.choice((1, 1, 1, 2, 3, MOST))):
        name = random.choice(list(MUTATIONS))
        data = MUTATIONS[name](random, data, segments)
        done.append(name)
    return data, ", ".join(done)


def _span(data: bytes, kind: bytes) -> tuple[int, int]:
    """Where the contents of the first box of a kind lie; the whole file if there is none."""
    return next(((b.start + HEADER, b.end) for b in boxes(data) if b.kind == kind), (0, len(data)))


def _flip(random: Random, data: bytes, start: int, end: int) -> bytes:
    if end <= start:
        return data
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16, 64))):
        damaged[random.randrange(start, end)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _flip_anywhere(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _flip(random, data, 0, len(data))


def _flip_index(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _flip(random, data, *_span(data, b"moov"))


def _flip_video(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _flip(random, data, *_span(data, b"mdat"))


def _overwrite(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, size = random.randrange(len(data) + 1), random.randint(1, LONGEST)
    filling = random.choice((b"\0" * size, b"\xff" * size, random.randbytes(size)))
    return data[:at] + filling + data[at + size :]


def _cut(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _cut_front(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[random.randrange(len(data) + 1) :]


def _splice(random: Random, data: bytes, segments: Sequence[bytes]) -> bytes:
    other = random.choice(segments)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _repeat(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.randint(1, LONGEST)]
    return data[:start] + piece * random.choice((1, 2, 8)) + data[start:]


def _remove(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.randint(1, LONGEST) :]


def _extreme_number(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A number of the index becomes an extreme one: counts, sizes, offsets, durations."""
    start, end = _span(data, b"moov")
    if end - start < 4:
        return data
    at = random.randrange(start, end - 3)
    return data[:at] + struct.pack(">I", random.choice(EXTREMES)) + data[at + 4 :]


def _box(random: Random, data: bytes) -> Box | None:
    found = boxes(data)
    return random.choice(found) if found else None


def _box_size(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    box = _box(random, data)
    if box is None:
        return data
    near = max(0, box.end - box.start + random.choice((-8, -1, 1, 4, 8, 1000)))
    size = struct.pack(">I", random.choice((near, *EXTREMES)))
    return data[: box.start] + size + data[box.start + 4 :]


def _box_kind(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    box = _box(random, data)
    if box is None:
        return data
    kind = random.choice(KINDS + OTHER_KINDS)
    return data[: box.start + 4] + kind + data[box.start + HEADER :]


def _box_dropped(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    box = _box(random, data)
    return data if box is None else data[: box.start] + data[box.end :]


def _box_doubled(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    box = _box(random, data)
    if box is None:
        return data
    return data[: box.end] + data[box.start : box.end] * random.choice((1, 3)) + data[box.end :]


def _boxes_nested(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Boxes within boxes, deeper than any parser should follow."""
    kind, depth = random.choice((b"moov", b"trak", b"udta", b"meta")), random.choice((16, 256, 4096))
    nested = b"".join(struct.pack(">I4s", HEADER * (depth - i), kind) for i in range(depth))
    return random.choice((data + nested, nested + data))


def _unit_size(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """The length before the first H.264 unit, or any four bytes of the video, becomes an extreme one."""
    start, end = _span(data, b"mdat")
    if end - start < 4:
        return data
    at = random.choice((start, random.randrange(start, end - 3)))
    return data[:at] + struct.pack(">I", random.choice(EXTREMES)) + data[at + 4 :]


def _noise(random: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    size = random.choice((1, 7, 8, 100, 5000))
    return random.choice((b"", data[:32])) + random.randbytes(size)


def _append(random: Random, data: bytes, segments: Sequence[bytes]) -> bytes:
    tails = (random.choice(segments), random.randbytes(LONGEST), b"\0" * random.choice((1, 4096, 65536)))
    return data + random.choice(tails)


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": _flip_anywhere,
    "bits of the index flipped": _flip_index,
    "bits of the video flipped": _flip_video,
    "bytes overwritten": _overwrite,
    "cut": _cut,
    "front cut off": _cut_front,
    "spliced": _splice,
    "piece repeated": _repeat,
    "piece removed": _remove,
    "extreme number": _extreme_number,
    "box of another size": _box_size,
    "box of another kind": _box_kind,
    "box dropped": _box_dropped,
    "box doubled": _box_doubled,
    "boxes nested": _boxes_nested,
    "unit of another size": _unit_size,
    "noise": _noise,
    "more appended": _append,
}
