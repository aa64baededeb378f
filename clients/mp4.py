"""What an mp4 file says about where its samples lie, read from its boxes before FFmpeg sees it.

FFmpeg ignores references to other files when told to, and then decodes something else than the file
describes. A segment has no business naming other files, so it is refused for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_WAY_TO_REFERENCES = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
_SELF_CONTAINED = 1
_MAX_BOXES = 256


def names_other_files(data: bytes) -> bool:
    """Whether any track says that its samples lie outside this file."""
    return any(_entries_name_other_files(body) for body in _find(memoryview(data), _WAY_TO_REFERENCES))


def _entries_name_other_files(body: memoryview) -> bool:
    # version and flags (4), count (4), then one box an entry whose flags say "in this file"
    return any(len(entry) < 4 or not entry[3] & _SELF_CONTAINED for _, entry in _boxes(body[8:]))


def _find(data: memoryview, way: tuple[bytes, ...]) -> Iterator[memoryview]:
    for kind, body in _boxes(data):
        if kind == way[0]:
            if len(way) == 1:
                yield body
            else:
                yield from _find(body, way[1:])


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes on one level; stops quietly where the data stops making sense, as FFmpeg will say so."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        elif size == 0:
            size = len(data) - at
        if size < header:
            return
        yield kind, data[at + header : at + size]
        at += size
