"""Crafted segments: files that a camera never makes and an attacker would."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf")


def encode(
    pictures: Sequence[np.ndarray],
    container: str = "mp4",
    codec: str = "libx264",
    streams: int = 1,
    audio: bool = False,
) -> bytes:
    """Frames in any container and codec, with any number of video streams and perhaps a sound track."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        videos = [output.add_stream(codec, rate=15) for _ in range(streams)]
        for video in videos:
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "yuv420p"
        sound = output.add_stream("aac", rate=44100) if audio else None
        for video in videos:
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 15)
                output.mux(video.encode(frame))
            output.mux(video.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate = 44100
            output.mux(sound.encode(samples))
            output.mux(sound.encode(None))
    return buffer.getvalue()


def sound_only() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=44100)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        samples.sample_rate = 44100
        output.mux(sound.encode(samples))
        output.mux(sound.encode(None))
    return buffer.getvalue()


def replace_box(data: bytes, path: Sequence[bytes], content: bytes) -> bytes:
    """The file with the box at `path` holding `content`; the boxes around it grow or shrink with it."""
    for start, end, kind, body in boxes(data):
        if kind != path[0]:
            continue
        if len(path) == 1:
            inner = content
        else:
            skip = {b"stsd": 8, b"avc1": 78, b"dref": 8}.get(kind, 0)
            inner = data[body : body + skip] + replace_box(data[body + skip : end], path[1:], content)
        return data[:start] + struct.pack(">I", len(inner) + 8) + kind + inner + data[end:]
    raise ValueError(f"no box {path[0]!r}")


def boxes(data: bytes) -> list[tuple[int, int, bytes, int]]:
    """(start, end, kind, start of the body) of every box on this level."""
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if size < 8:
            break
        found.append((at, at + size, kind, at + 8))
        at += size
    return found


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The segment announcing other dimensions in its H.264 parameter set."""
    sps = sequence_parameters(width, height)
    pps = b"\x68\xeb\xe3\xcb\x22\xc0"
    avcc = b"\x01" + sps[1:4] + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps
    avcc += b"\x01" + struct.pack(">H", len(pps)) + pps
    return replace_box(data, (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"avcC"), avcc)


def with_external_reference(data: bytes, url: str) -> bytes:
    """The segment claiming that its samples lie elsewhere."""
    entry = b"url " + b"\x00\x00\x00\x00" + url.encode() + b"\x00"
    content = b"\x00" * 4 + struct.pack(">I", 1) + struct.pack(">I", len(entry) + 4) + entry
    return replace_box(data, (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"), content)


def sequence_parameters(width: int, height: int) -> bytes:
    """A baseline-profile H.264 sequence parameter set of any size."""
    bits = format(66, "08b") + "00000000" + format(62, "08b")  # profile, constraints, level 6.2
    bits += _golomb(0) + _golomb(0) + _golomb(0) + _golomb(0)  # id, frame numbers, order count, its bits
    bits += _golomb(1) + "0"  # reference frames, no gaps
    bits += _golomb(width // 16 - 1) + _golomb(height // 16 - 1) + "1"  # macroblocks, frames only
    bits += "1" + "0" + "0" + "1"  # direct 8x8, no cropping, no VUI, stop bit
    bits += "0" * (-len(bits) % 8)
    return b"\x67" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def _golomb(value: int) -> str:
    digits = format(value + 1, "b")
    return "0" * (len(digits) - 1) + digits


def png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\x00" * (64 * 3 + 1) * 48)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def flipped(data: bytes, positions: Sequence[int]) -> bytes:
    damaged = bytearray(data)
    for position in positions:
        damaged[position % len(data)] ^= 0xFF
    return bytes(damaged)
