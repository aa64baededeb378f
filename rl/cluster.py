"""Where training and recording run."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ray_cluster() -> Iterator[None]:
    """Ray is connected inside: with the cluster that RAY_ADDRESS names, or with an instance of its own.

    Left to itself, Ray would join whatever cluster was started last on this machine, be it an application's
    or long gone.
    """
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(
            os.environ.get("RAY_ADDRESS", "local"),
            logging_level=logging.WARNING,
            log_to_driver=False,
            include_dashboard=False,
        )
    try:
        yield
    finally:
        if started:
            ray.shutdown()
