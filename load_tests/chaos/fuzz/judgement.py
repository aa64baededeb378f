"""What is wrong with an answer: decisions only."""

from __future__ import annotations

import json

from pydantic import ValidationError

from clients.protocol import PROBLEM_TYPE, Problem
from clients.uploads import UploadReply
from load_tests.chaos.fuzz.case import Case, Due
from load_tests.chaos.fuzz.exchange import Heard

REFUSALS = {"deadline", "overload", "state"}
"""Problems that a 503 may be: all others of 500 and above are faults."""
FAULTY_CLOSE = (1006, 1011)
ENDS_ANYHOW = ("HEAD", "CONNECT", "TRACE")


def fault(case: Case, heard: Heard) -> str | None:
    """One line on what is wrong; None where all is as it should be."""
    if heard.silent:
        return "nothing was answered, and the connection stayed open"
    if case.due in (Due.REPLY, Due.SOCKET):
        return _fault_of_socket(case, heard)
    if heard.status == 0:
        return None if case.due is Due.ANYTHING else "the connection was closed without an answer"
    problem = _problem(heard)
    if heard.status >= 500:
        return _fault_of_status(heard.status, problem)
    if heard.status >= 400 and case.due is Due.ANSWER and case.method not in ENDS_ANYHOW:
        return _fault_of_refusal(heard, problem)
    return None


def _problem(heard: Heard) -> Problem | None:
    try:
        return Problem.model_validate_json(heard.body)
    except ValidationError:
        return None


def slug(problem: Problem | None) -> str:
    return "" if problem is None else problem.type.rpartition(":")[2]


def _fault_of_status(status: int, problem: Problem | None) -> str | None:
    if status == 503 and slug(problem) in REFUSALS:
        return None
    return f"status {status} {slug(problem)}".rstrip()


def _fault_of_refusal(heard: Heard, problem: Problem | None) -> str | None:
    if problem is None or heard.media_type != PROBLEM_TYPE:
        return f"status {heard.status} without a problem document ({heard.media_type or 'no media type'})"
    if problem.status != heard.status:
        return f"status {heard.status}, and its document says {problem.status}"
    return None


def _fault_of_socket(case: Case, heard: Heard) -> str | None:
    if heard.close_code in FAULTY_CLOSE:
        return f"the WebSocket was closed with {heard.close_code}"
    if heard.status not in (0, 101):
        return f"the WebSocket was not opened: {heard.status}"
    for message in heard.messages:
        try:
            reply = UploadReply.model_validate_json(message)
        except ValidationError:
            return f"a message that is no reply: {message[:100]}"
        found = None if reply.status < 500 else _fault_of_status(reply.status, reply.problem)
        if found is not None:
            return found
    if case.due is Due.REPLY and not heard.messages:
        return f"no reply came (closed with {heard.close_code})"
    return None


def outcome(heard: Heard) -> str:
    """What became of a case, to tally: its status with its problem."""
    if heard.messages:
        return "reply " + str(json.loads(heard.messages[0]).get("status", "?"))
    if heard.close_code is not None:
        return f"closed {heard.close_code}"
    if heard.status == 0:
        return "closed"
    return f"{heard.status} {slug(_problem(heard))}".rstrip()
