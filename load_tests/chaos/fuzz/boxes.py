"""Where the boxes of a good mp4 file lie, so that mutations hit what a demuxer reads."""

from __future__ import annotations

import struct
from dataclasses import dataclass

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta"}
HEADER = 8
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Box:
    """One box: `start` to `end` with its header of eight bytes."""

    start: int
    end: int
    kind: bytes


def boxes(data: bytes, start: int = 0, end: int | None = None, depth: int = 0) -> list[Box]:
    """All boxes between two places, those inside others after them; ends where the data makes no sense, or
    lies deeper than any good file."""
    found, at, stop = list[Box](), start, len(data) if end is None else end
    while at + HEADER <= stop:
        size, kind = struct.unpack_from(">I4s", data, at)
        if not HEADER <= size <= stop - at:
            break
        found.append(Box(at, at + size, kind))
        if kind in CONTAINERS and depth < DEEPEST:
            found += boxes(data, at + HEADER, at + size, depth + 1)
        at += size
    return found
