"""A pool of decoder processes; what hangs or crashes one costs that one segment.

Each process shares one anonymous file with its parent: the segment goes in at the start, the frames come
out behind it. A decoder is held until its frames have been used, so the pool's size is also the number
of segments whose frames can be in memory at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import mmap
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clients.codec import DecodeError, DecodeLimits

WORKER = "serving.decode.worker"
PAGE = mmap.PAGESIZE
START_TIMEOUT_S = 60.0

Failure = Literal["crashed", "hung"]

logger = logging.getLogger("ray.serve")


class DecoderPool:
    """`size` decoder processes, started by `warm_up` or when first needed, replaced when they fail."""

    def __init__(
        self,
        size: int,
        max_bytes: int,
        timeout_s: float,
        memory_mb: int,
        failed: Callable[[Failure], None] = lambda failure: None,
    ) -> None:
        """`failed` is told of every process that had to be replaced."""
        self._max_bytes, self._timeout_s, self._memory_mb = max_bytes, timeout_s, memory_mb
        self._failed = failed
        self._free: asyncio.Queue[_Decoder | None] = asyncio.Queue()
        for _ in range(size):
            self._free.put_nowait(None)

    async def warm_up(self, expected: DecodeLimits) -> None:
        """Starts the processes before the first segment comes."""
        for _ in range(self._free.qsize()):
            if self._free.empty():  # all at work, which began while one started here
                return
            decoder = self._free.get_nowait()
            try:
                if decoder is None:
                    decoder = await _Decoder.start(self._max_bytes, _room(expected), self._memory_mb)
            finally:
                self._free.put_nowait(decoder)  # if starting fails, the place in the pool is kept

    @asynccontextmanager
    async def decode(self, data: bytes, expected: DecodeLimits) -> AsyncIterator[NDArray[np.uint8]]:
        """Frames (N, height, width, 3) RGB, valid inside the context only.

        `expected` is exact: other sizes or counts raise `DecodeError`, as do damaged bytes, a decoder
        that dies and one that takes longer than the pool's timeout. One that cannot be started raises
        `EOFError` or `TimeoutError`.
        """
        decoder = await self._free.get()
        try:
            room = _room(expected)
            if decoder is not None and decoder.ended:  # while nobody used it: no segment's fault
                self._failed("crashed")
                decoder = None
            if decoder is None or decoder.room < room:
                if decoder is not None:
                    await decoder.close()
                decoder = None  # if starting fails, the place in the pool is kept
                decoder = await _Decoder.start(self._max_bytes, room, self._memory_mb)
            try:
                frames = await asyncio.wait_for(decoder.decode(data, expected), self._timeout_s)
            except DecodeError:
                raise
            except BaseException as error:
                await decoder.close()
                decoder = None
                if isinstance(error, TimeoutError):
                    self._failed("hung")
                    raise DecodeError(f"decoding took longer than {self._timeout_s:g} s") from error
                # RuntimeError is uvloop's word for a pipe whose other end is gone; Ray's replicas run on it
                if isinstance(error, (ConnectionError, EOFError, ValueError, RuntimeError)):
                    self._failed("crashed")
                    logger.warning("a decoder process died and was replaced: %s", error)
                    raise DecodeError("the decoder broke down on these bytes") from error
                raise
            yield frames
        finally:
            self._free.put_nowait(decoder)

    async def close(self) -> None:
        """Ends the processes that are not in use."""
        while not self._free.empty():
            decoder = self._free.get_nowait()
            if decoder is not None:
                await decoder.close()


class _Decoder:
    """One process and the memory it shares with us."""

    def __init__(self, process: asyncio.subprocess.Process, memory: mmap.mmap, max_bytes: int) -> None:
        self._process, self._memory = process, memory
        self._offset = _pages(max_bytes)
        self.room = len(memory) - self._offset

    @classmethod
    async def start(cls, max_bytes: int, room: int, memory_mb: int) -> _Decoder:
        size = _pages(max_bytes) + _pages(room)
        memory_fd = os.memfd_create("penance-segment")
        try:
            os.ftruncate(memory_fd, size)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                WORKER,
                str(memory_fd),
                str(memory_mb + size // 2**20),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # FFmpeg's remarks on hostile bytes would flood the log
                pass_fds=(memory_fd,),
                cwd=Path(__file__).parents[2],
                env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
            )
            decoder = cls(process, mmap.mmap(memory_fd, size), max_bytes)
            await asyncio.wait_for(decoder.ready(), START_TIMEOUT_S)
            return decoder
        finally:
            os.close(memory_fd)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def ready(self) -> None:
        """Waits until the process has started, so that starting counts in no segment's time."""
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise EOFError("the decoder process ended while it started")

    async def decode(self, data: bytes, expected: DecodeLimits) -> NDArray[np.uint8]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._memory[: len(data)] = data
        request = {**expected.model_dump(), "size": len(data), "offset": self._offset}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            raise EOFError("no answer")
        answer = json.loads(line)
        if "refused" in answer:
            raise DecodeError(answer["refused"])
        shape = (expected.frames, expected.height, expected.width, 3)
        flat = np.frombuffer(self._memory, np.uint8, int(np.prod(shape)), self._offset)
        return flat.reshape(shape)

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


def _room(expected: DecodeLimits) -> int:
    return expected.frames * expected.height * expected.width * 3


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
