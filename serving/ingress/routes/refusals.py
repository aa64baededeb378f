"""How refusals stand in the interface's description."""

from __future__ import annotations

from typing import Any

from clients.protocol import PROBLEM_TYPE, Problem


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents for 401 and 503, which every route may answer, and for these."""
    document = {"model": Problem, "content": {PROBLEM_TYPE: {}}}
    return dict.fromkeys((401, *statuses, 503), document)
