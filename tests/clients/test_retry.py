"""Retry decisions, drops reported once, keys found: all without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.connection import retry_after
from clients.drops import DropLedger
from clients.errors import KeyMissing, RefusedByServer, ServerUnreachable, TryLater, problem_slug
from clients.key import find_key
from clients.outage import Outage
from clients.protocol import MAX_DROPPED, Problem
from clients.retry import Backoff, retry_delay
from configs.ladder import load_ladder

LADDER = load_ladder()


def a_problem(status: int, slug: str = "overload") -> Problem:
    return Problem(type=f"urn:penance:problem:{slug}", title="t", status=status, detail="d")


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_and_jittered(attempt: int, luck: float) -> None:
    backoff = Backoff(base=0.25, cap=10)
    delay = backoff.delay(attempt, lambda: luck)
    assert 0 <= delay <= min(10, 0.25 * 2 ** min(attempt, 32))
    assert backoff.delay(attempt, lambda: 0.0) == 0


def test_backoff_grows_to_its_cap() -> None:
    ceilings = [Backoff(base=0.25, cap=10).delay(k, lambda: 1.0) for k in range(8)]
    assert ceilings == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_retry_after_is_a_lower_bound() -> None:
    assert retry_delay(TryLater(a_problem(503), 3.0), 0, Backoff(), lambda: 0.0) == 3.0
    assert retry_delay(TryLater(a_problem(429), 3.0), 1, Backoff(base=1), lambda: 0.5) == 4.0
    assert retry_delay(TryLater(a_problem(503), None), 1, Backoff(base=1), lambda: 0.5) == 1.0
    assert retry_delay(ServerUnreachable("gone"), 2, Backoff(base=1), lambda: 0.5) == 2.0


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 415, 422, 500])
def test_refusals_are_final(status: int) -> None:
    assert retry_delay(RefusedByServer(a_problem(status)), 0, Backoff(), lambda: 0.5) is None


def test_retry_after_headers() -> None:
    assert retry_after("2.5", 0) == 2.5
    assert retry_after("-1", 0) == 0
    assert retry_after("Thu, 01 Jan 1970 00:00:10 GMT", 4) == 6
    assert retry_after("soon", 0) is None
    assert retry_after(None, 0) is None


@pytest.mark.parametrize(
    "kind", ["urn:penance:problem:deadline", "https://penance.dev/problems/deadline", "deadline"]
)
def test_slugs(kind: str) -> None:
    assert problem_slug(Problem(type=kind, title="t", status=503, detail="d")) == "deadline"


@given(st.data())
def test_drops_are_acknowledged_exactly_once(data: st.DataObject) -> None:
    """Any order of drops, answers and lost answers: what the server commits holds every drop once."""
    ledger, committed, dropped = DropLedger(), [], []
    for seq in range(data.draw(st.integers(1, 40))):
        if data.draw(st.booleans()):
            ledger.add(seq, LADDER[seq % 90])
            dropped.append((seq, LADDER[seq % 90]))
            continue
        reported = ledger.before(seq)
        for _ in range(data.draw(st.integers(0, 2))):  # repetitions of one seq carry the same report
            late = max(seq, 1000 + len(dropped))
            assert all(s < late for s, _ in reported)
        committed += reported
        ledger.acknowledge(dropped_seq for dropped_seq, _ in reported)
    committed += ledger.before(10_000)
    assert committed == dropped


def test_the_ledger_is_bounded_and_keeps_the_newest() -> None:
    ledger = DropLedger()
    for seq in range(3 * MAX_DROPPED):
        ledger.add(seq, LADDER[1])
    pending = ledger.before(10**6)
    assert len(pending) == MAX_DROPPED
    assert pending[-1] == (3 * MAX_DROPPED - 1, LADDER[1])


def test_an_outage_is_one_line_and_an_end() -> None:
    lines: list[str] = []
    outage = Outage(lines.append)
    for _ in range(20):
        outage.failed(ServerUnreachable("no answer from http://x"))
    outage.answered()
    outage.answered()
    assert len(lines) == 2
    assert "no answer from http://x" in lines[0]
    assert "again" in lines[1]


def test_a_moments_overload_is_no_news() -> None:
    lines: list[str] = []
    outage = Outage(lines.append)
    outage.failed(TryLater(a_problem(429, "quota"), 0.1))
    outage.answered()
    assert lines == []


def test_keys(tmp_path: Path) -> None:
    lines: list[str] = []
    file = tmp_path / "demo.key"
    assert find_key(" a.b ", file, "http://127.0.0.1:8000", lines.append) == "a.b"
    with pytest.raises(KeyMissing, match="--key or PENANCE_KEY"):
        find_key(None, file, "http://elsewhere.example:8000", lines.append)
    assert lines == []
    with pytest.raises(KeyMissing):
        find_key(None, file, "127.0.0.1:8000", lines.append, wait=0.05)
    assert len(lines) == 1
    file.write_text("id.secret\n")
    assert find_key(None, file, "127.0.0.1:8000", lines.append) == "id.secret"
