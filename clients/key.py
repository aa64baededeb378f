"""Where the camera finds its tenant's key: given, in the environment, or in the file of the first start."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from clients.addresses import Addresses
from clients.errors import KeyMissing

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
WAIT_FOR_LOCAL_SERVER = 60.0  # seconds; a first start makes the key only after its bundle is loaded


def find_key(
    given: str | None,
    key_file: Path,
    server: str,
    notify: Callable[[str], None],
    wait: float = WAIT_FOR_LOCAL_SERVER,
) -> str:
    """The tenant's key, `id.secret`. Raises `KeyMissing`.

    A server on this machine may still be starting, so its key file is waited for; for a server elsewhere
    the file of this machine is only a fallback and nothing is waited for.
    """
    if given and given.strip():
        return given.strip()
    hosts = {urlsplit(address).hostname for address in Addresses(server).all}
    ends = time.monotonic() + (wait if hosts & LOCAL_HOSTS else 0.0)
    told = False
    while not (key := _read(key_file)):
        if time.monotonic() >= ends:
            raise KeyMissing(
                f"no key: give --key or PENANCE_KEY, or start a server here once, which writes {key_file}"
            )
        if not told:
            notify(f"waiting for the server to write its key to {key_file}")
            told = True
        time.sleep(min(0.2, max(0.0, ends - time.monotonic())))
    return key


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise KeyMissing(
            f"cannot read the key in {path}: {error.strerror}; it belongs to another user?"
        ) from error
