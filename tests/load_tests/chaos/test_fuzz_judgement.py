"""What counts as a fault of the service, and what a run says of it."""

from __future__ import annotations

import json

import pytest

from load_tests.chaos.fuzz.campaign import Finding, Tally
from load_tests.chaos.fuzz.case import Case, Due, Piece
from load_tests.chaos.fuzz.exchange import Heard
from load_tests.chaos.fuzz.judgement import fault, outcome
from load_tests.chaos.fuzz.report import faults, growth, summary
from load_tests.chaos.processes import Held, kind_of

PROBLEM = "application/problem+json"


def case(due: Due = Due.ANSWER, method: str = "PUT") -> Case:
    return Case(3, "body", "cut", (Piece(b"x"),), due, method)


def refused(status: int, slug: str = "invalid", said: int | None = None, media_type: str = PROBLEM) -> Heard:
    document = {"type": f"urn:penance:problem:{slug}", "title": "t", "status": said or status, "detail": "d"}
    return Heard(status, media_type, json.dumps(document).encode())


def reply(status: int, slug: str = "invalid") -> str:
    problem = json.loads(refused(status, slug).body)
    return json.dumps({"seq": 3, "kind": "segment", "status": status, "answer": None, "problem": problem})


@pytest.mark.parametrize(
    "heard",
    [
        Heard(200, "application/json", b"{}"),
        refused(422),
        refused(503, "overload"),
        refused(503, "deadline"),
        refused(503, "state"),
    ],
)
def test_answers_and_documented_refusals_are_no_faults(heard: Heard) -> None:
    assert fault(case(), heard) is None


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        (Heard(500, "text/plain", b"Internal Server Error"), "status 500"),
        (refused(500, "internal"), "status 500"),
        (refused(503, "strange"), "status 503 strange"),
        (Heard(503, "text/html", b"<html>"), "status 503"),
        (Heard(422, "application/json", b"{}"), "without a problem document"),
        (refused(422, media_type="application/json"), "without a problem document"),
        (refused(422, said=400), "says 400"),
        (Heard(), "closed without an answer"),
        (Heard(silent=True), "stayed open"),
    ],
)
def test_what_a_whole_request_must_not_get(heard: Heard, words: str) -> None:
    found = fault(case(), heard)
    assert found is not None
    assert words in found


def test_what_is_no_http_may_be_closed_or_refused_by_a_proxy_but_not_break_the_service() -> None:
    assert fault(case(Due.ANYTHING), Heard()) is None
    assert fault(case(Due.ANYTHING), Heard(400, "text/html", b"<html>")) is None
    assert fault(case(Due.ANYTHING), Heard(500, "text/html", b"<html>")) is not None
    assert fault(case(Due.ANYTHING), Heard(silent=True)) is not None


@pytest.mark.parametrize(
    ("due", "heard", "words"),
    [
        (Due.REPLY, Heard(101, messages=[reply(422)]), None),
        (Due.SOCKET, Heard(101, close_code=1002), None),
        (Due.SOCKET, Heard(101), None),
        (Due.REPLY, Heard(101), "no reply"),
        (Due.SOCKET, Heard(101, close_code=1011), "closed with 1011"),
        (Due.SOCKET, Heard(101, messages=[reply(500)]), "status 500"),
        (Due.SOCKET, Heard(101, messages=["{"]), "no reply"),
        (Due.SOCKET, Heard(503), "not opened"),
    ],
)
def test_a_websocket_replies_or_is_closed_by_the_protocol(due: Due, heard: Heard, words: str | None) -> None:
    found = fault(case(due, "GET"), heard)
    assert (found is None) if words is None else (found is not None and words in found)


def test_outcomes_are_told_by_status_and_problem() -> None:
    assert outcome(refused(422, "undecodable")) == "422 undecodable"
    assert outcome(Heard()) == "closed"
    assert outcome(Heard(101, messages=[reply(413)])) == "reply 413"
    assert outcome(Heard(101, close_code=1002)) == "closed 1002"


def test_a_run_fails_for_findings_memory_and_lost_decoders() -> None:
    tally = Tally(held_before={"ingress": Held(2, 1000)}, held_after={"ingress": Held(2, 1015)}, decoders=10)
    tally.take(case(), refused(422, "undecodable"))
    assert faults(tally) == []
    tally.held_after = {"ingress": Held(2, 1030)}
    tally.decoders_missing = 1
    tally.take(case(), Heard(500, "text/plain", b"oh"))
    assert tally.findings == [Finding(3, "body", "cut", "status 500", "oh")]
    assert len(faults(tally)) == 3
    assert growth(tally) == pytest.approx(0.03)
    assert json.loads(json.dumps(summary(tally, 1)))["cases"] == 2


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("ray::ServeReplica:default:ingress.handle_request", "ingress"),
        ("ray::ServeReplica:default:variant-3", "variant"),
        ("python -m serving.decode.worker 66 1071", "decoder"),
        ("/x/valkey-server unixsocket:/tmp/a/redis/valkey.sock", "database"),
        ("/usr/sbin/haproxy -db -f x.cfg", "haproxy"),
        ("ray::ProxyActor", "proxy"),
        ("ray::ServeController.listen", "controller"),
        ("/x/ray/core/src/ray/raylet/raylet --y", "ray"),
        ("python serve run x.yaml", "other"),
    ],
)
def test_processes_are_known_by_their_command_lines(line: str, kind: str) -> None:
    assert kind_of(line) == kind
