"""How a camera's process ends on Ctrl-C and SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.camera import Camera

GRACE = 3  # seconds that the segment on its way gets after Ctrl-C


@contextlib.contextmanager
def ends_cleanly(camera: Camera) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM gives the segment on its way GRACE seconds to finish, a second one none."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def end(number: int, frame: FrameType | None) -> None:
        camera.stop()
        signal.signal(signal.SIGINT, interrupt)
        signal.signal(signal.SIGTERM, interrupt)
        if hasattr(signal, "alarm"):
            signal.signal(signal.SIGALRM, interrupt)
            signal.alarm(GRACE)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
