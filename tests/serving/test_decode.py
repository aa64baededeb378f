"""The decoder pool with real processes and real H.264: exact frames out, and nothing that kills it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import numpy as np
import psutil
import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clients.codec import DecodeError, DecodeLimits, decode_segment, encode_segment
from configs.ladder import CompressionSetting
from serving.decode.pool import DecoderPool

FRAMES, WIDTH, HEIGHT = 6, 128, 96
EXPECTED = DecodeLimits(width=WIDTH, height=HEIGHT, frames=FRAMES)


def picture(index: int) -> np.ndarray:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([rows * 2, columns + index * 5, (rows + columns) // 2], axis=-1).astype(np.uint8)


SEGMENT = encode_segment([picture(i) for i in range(FRAMES)], CompressionSetting(1.0, 24), fps=15)


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    pool = DecoderPool(size=1, max_bytes=2**20, timeout_s=20, memory_mb=1024)
    yield pool
    await pool.close()


def decoders() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # among them zombies
            if "serving.decode.worker" in " ".join(child.cmdline()):
                found.append(child)
    return found


async def test_frames_are_those_of_a_decoder_in_this_process(pool: DecoderPool) -> None:
    async with pool.decode(SEGMENT, EXPECTED) as frames:
        assert np.array_equal(frames, decode_segment(SEGMENT, EXPECTED))


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (DecodeLimits(width=WIDTH, height=HEIGHT, frames=FRAMES - 1), "at most 5 frames"),
        (DecodeLimits(width=WIDTH, height=HEIGHT, frames=FRAMES + 1), "expected 7 frames, found 6"),
        (DecodeLimits(width=64, height=HEIGHT, frames=FRAMES), "at most 64x96"),
        (DecodeLimits(width=256, height=192, frames=FRAMES), "expected frames of 256x192"),
    ],
)
async def test_other_counts_and_sizes_are_refused(
    pool: DecoderPool, expected: DecodeLimits, said: str
) -> None:
    with pytest.raises(DecodeError, match=said):
        async with pool.decode(SEGMENT, expected):
            pass


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 64, b"#EXTM3U\n", SEGMENT[:100], SEGMENT[: len(SEGMENT) // 2]]
)
async def test_damaged_bytes_are_refused_and_the_next_segment_is_fine(pool: DecoderPool, data: bytes) -> None:
    with pytest.raises(DecodeError):
        async with pool.decode(data, EXPECTED):
            pass
    async with pool.decode(SEGMENT, EXPECTED) as frames:
        assert len(frames) == FRAMES


LOOPS = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
"""Ray's replicas run on uvloop, which has words of its own for what goes wrong."""


@LOOPS
def test_a_decoder_that_is_killed_at_work_costs_one_segment(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    told: list[str] = []

    async def run() -> None:
        pool = DecoderPool(size=1, max_bytes=2**20, timeout_s=20, memory_mb=1024, failed=told.append)
        async with pool.decode(SEGMENT, EXPECTED):
            pass
        (decoder,) = decoders()
        os.kill(decoder.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.3, os.kill, decoder.pid, signal.SIGKILL)
        with pytest.raises(DecodeError, match="broke down"):
            async with pool.decode(SEGMENT, EXPECTED):
                pass
        async with pool.decode(SEGMENT, EXPECTED) as frames:
            assert len(frames) == FRAMES
        await pool.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert told == ["crashed"]


@LOOPS
def test_a_decoder_that_was_killed_while_nobody_used_it_costs_none(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    told: list[str] = []

    async def run() -> None:
        pool = DecoderPool(size=2, max_bytes=2**20, timeout_s=20, memory_mb=1024, failed=told.append)
        await pool.warm_up(EXPECTED)
        for decoder in decoders():
            decoder.kill()
        while decoders():
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # the loop hears of it
        for _ in range(3):
            async with pool.decode(SEGMENT, EXPECTED) as frames:
                assert len(frames) == FRAMES
        await pool.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert told == ["crashed", "crashed"]


async def test_one_that_cannot_start_does_not_cost_the_pool_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = DecoderPool(size=1, max_bytes=2**20, timeout_s=20, memory_mb=1024)
    with monkeypatch.context() as broken:
        broken.setattr("serving.decode.pool.WORKER", "no.such.module")
        with pytest.raises(EOFError):
            await pool.warm_up(EXPECTED)
        with pytest.raises(EOFError):
            async with pool.decode(SEGMENT, EXPECTED):
                pass
    async with asyncio.timeout(20), pool.decode(SEGMENT, EXPECTED) as frames:
        assert len(frames) == FRAMES
    await pool.close()


async def test_a_decoder_that_hangs_is_replaced() -> None:
    pool = DecoderPool(size=1, max_bytes=2**20, timeout_s=2.0, memory_mb=1024)
    async with pool.decode(SEGMENT, EXPECTED):
        pass
    (decoder,) = decoders()
    os.kill(decoder.pid, signal.SIGSTOP)
    with pytest.raises(DecodeError, match="longer than 2 s"):
        async with pool.decode(SEGMENT, EXPECTED):
            pass
    assert decoders() == []
    await pool.close()


async def test_as_many_segments_are_held_as_there_are_decoders(pool: DecoderPool) -> None:
    async with pool.decode(SEGMENT, EXPECTED):
        waiting = asyncio.create_task(pool.decode(SEGMENT, EXPECTED).__aenter__())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        waiting.cancel()


async def test_a_decoder_knows_no_secrets_and_dies_with_its_parent(pool: DecoderPool) -> None:
    async with pool.decode(SEGMENT, EXPECTED):
        (decoder,) = decoders()
        assert set(decoder.environ()) <= {"PYTHONPATH", "OMP_NUM_THREADS", "LC_CTYPE"}
        assert decoder.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert decoder.rlimit(psutil.RLIMIT_AS)[0] < 2 * 2**30


@example(position=1316, bit=0, cut=0)  # a codec that FFmpeg does not know
@given(position=st.integers(0, len(SEGMENT) - 1), bit=st.integers(0, 7), cut=st.integers(0, 64))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_gives_frames_or_a_refusal_never_a_crash(position: int, bit: int, cut: int) -> None:
    data = bytearray(SEGMENT)
    data[position] ^= 1 << bit
    try:
        frames = decode_segment(bytes(data[: len(data) - cut]), EXPECTED)
    except DecodeError:
        return
    assert len(frames) <= FRAMES
