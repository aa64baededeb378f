"""The decoder process: reads a segment from shared memory and writes its frames back there.

Bytes from outside meet FFmpeg only here. The process holds no secrets (its environment is empty), opens
no files or sockets after start, has a bounded address space, and dies with its parent. It speaks one
JSON line in, one JSON line out; the bytes themselves never pass through a pipe.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import sys
from typing import Any

import numpy as np

from clients.codec import DecodeError, DecodeLimits, iterate_rgb

PR_SET_PDEATHSIG = 1
OPEN_FILES = 32
READY = "ready"


def restrict(memory_mb: int) -> None:
    """Gives up what decoding does not need."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))


def decode(memory: mmap.mmap, request: dict[str, Any]) -> dict[str, Any]:
    """Decodes `size` bytes at the start of the memory into RGB frames from `offset` on."""
    width, height, expected = request["width"], request["height"], request["frames"]
    data = memory[: request["size"]]
    frames = np.frombuffer(memory, np.uint8, expected * height * width * 3, request["offset"])
    frames = frames.reshape(expected, height, width, 3)
    count = 0
    for image in iterate_rgb(data, DecodeLimits(width=width, height=height, frames=expected)):
        if image.shape != frames.shape[1:]:
            raise DecodeError(f"expected frames of {width}x{height}, found {image.shape[1]}x{image.shape[0]}")
        frames[count] = image
        count += 1
    if count != expected:
        raise DecodeError(f"expected {expected} frames, found {count}")
    return {"frames": count}


def main() -> None:
    memory_fd, memory_mb = int(sys.argv[1]), int(sys.argv[2])
    memory = mmap.mmap(memory_fd, os.fstat(memory_fd).st_size)
    restrict(memory_mb)
    print(READY, flush=True)
    for line in sys.stdin:
        try:
            answer = decode(memory, json.loads(line))
        except DecodeError as error:
            answer = {"refused": str(error)}
        except MemoryError:
            answer = {"refused": f"decoding needs more than the {memory_mb} MiB that a decoder may use"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
