"""A link between cameras and an application that can be cut, fall silent, and be slow: a TCP proxy.

Packets can be lost in a way that this does not show (no kernel here drops them); what a camera sees of a bad
link, it does: connections that break, that hang, and that are slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STEP = 8 * 2**10
LONGEST_WAIT_S = 0.05


@dataclass(frozen=True, slots=True)
class Quality:
    """How the link is: `delay_s` before each piece of up to 8 KiB, and bytes a second of each connection."""

    delay_s: float = 0.0
    bytes_per_s: float | None = None
    silent: bool = False


class Link:
    """Forwards to a port; use it as a context manager. Its event loop runs in a thread of its own."""

    def __init__(self, to_port: int) -> None:
        self._to, self.port, self._quality = to_port, 0, Quality()
        self._writers: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._ready, self._stop = threading.Event(), asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Link:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._soon(self._stop.set)
        self._thread.join()

    @contextmanager
    def as_(self, quality: Quality) -> Iterator[None]:
        """The link is so for a while."""
        self._quality = quality
        try:
            yield
        finally:
            self._quality = Quality()

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Connections break, and no new one comes about."""
        self._cut = True
        self._soon(self._break)
        try:
            yield
        finally:
            self._cut = False

    def _soon(self, act: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(act)

    def _break(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        self._break()
        await asyncio.sleep(2 * LONGEST_WAIT_S)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, onward_writer}
        self._writers |= both
        try:
            await asyncio.gather(self._forward(reader, onward_writer), self._forward(onward_reader, writer))
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(STEP):
                await self._delayed(len(data))
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _delayed(self, size: int) -> None:
        while self._quality.silent:
            await asyncio.sleep(LONGEST_WAIT_S)
        quality = self._quality
        wait = quality.delay_s + (size / quality.bytes_per_s if quality.bytes_per_s else 0.0)
        if wait:
            await asyncio.sleep(wait)
