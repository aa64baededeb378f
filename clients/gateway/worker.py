"""One camera of a gateway, in a process of its own: `python -m clients.gateway.worker`.

Its first line on stdin is an `Order` with the credentials, which so stand in no command line. Lines after
it are new caps of the uplink. What happens goes out as JSON lines on stdout. When stdin ends, the gateway
is gone, and the camera ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from typing import Any, TextIO

from pydantic import ValidationError

from clients.bandwidth import Uplink
from clients.camera import Camera
from clients.errors import CameraError
from clients.gateway.order import FAILED, Cap, Order
from clients.interrupt import ends_cleanly
from clients.report import segment_record
from clients.source import VideoSource

# Unbuffered: a buffer that a thread waits in cannot be given up when the process ends.
STDIN = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115


class Reporter:
    """Writes what happens, one JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._lock = out, threading.Lock()

    def say(self, event: str, **more: Any) -> None:
        """Safe to call from any thread."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._out.write(json.dumps({"event": event, **more}) + "\n")
            self._out.flush()


def serve(order: Order, reporter: Reporter) -> int:
    """Runs the camera to the end of its video, or until it is stopped; the exit status."""
    uplink = Uplink(order.uplink)
    # Until the camera is there, SIGTERM ends the process at once: there is nothing to finish.
    threading.Thread(target=_listen, args=(uplink,), daemon=True).start()

    def notice(line: str) -> None:
        reporter.say("notice", line=line)

    try:
        source = VideoSource(
            order.source.get_secret_value(),
            seconds=order.seconds,
            fps=order.fps,
            box=order.size,
            loop=order.loop,
            notify=notice,
        )
        camera = Camera(
            source,
            key=order.key.get_secret_value(),
            server=order.server,
            name=order.name,
            policy=order.policy,
            target_miou=order.target_miou,
            pace=order.pace,
            uplink=uplink,
            deadline=order.deadline,
            notify=notice,
        )
        with ends_cleanly(camera), camera:
            reporter.say("registered", id=camera.server.registered.id, target_miou=camera.target_miou)
            with contextlib.suppress(KeyboardInterrupt), contextlib.closing(camera.run()) as results:
                for result in results:
                    reporter.say("segment", **segment_record(result) | {"target_miou": camera.target_miou})
    except (CameraError, ValueError) as error:
        reporter.say("failed", line=str(error))
        return FAILED
    return 0


def _listen(uplink: Uplink) -> None:
    """Takes new caps; when the gateway is gone, ends the camera as Ctrl-C does."""
    for line in STDIN:
        with contextlib.suppress(ValidationError, CameraError):
            uplink.cap(Cap.model_validate_json(line).uplink)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> int:
    """Entry point of the process."""
    return serve(Order.model_validate_json(STDIN.readline()), Reporter(sys.stdout))


if __name__ == "__main__":
    sys.exit(main())
