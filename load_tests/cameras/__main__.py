"""Locust comes first: importing it makes sockets and threads gevent's, for all that is imported after it."""

import locust  # noqa: F401
import typer

from load_tests.cameras.cli import cameras

if __name__ == "__main__":
    typer.run(cameras)
