"""The certified promise holds at every time at once, whatever the failures do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.promise import Audits, failure_rate_at_least, failure_rate_at_most, log_evidence

SHARE, CONFIDENCE = 0.05, 0.95
RUNS, SEGMENTS = 1000, 2000
FAILURES = {
    "rare": lambda source, _: source.random((RUNS, SEGMENTS)) < 0.04,
    "often": lambda source, _: source.random((RUNS, SEGMENTS)) < 0.5,
    "in bursts": lambda source, at: (at // 100 % 5 == 0) & (source.random((RUNS, SEGMENTS)) < 0.9),
    "ever more": lambda source, at: source.random((RUNS, SEGMENTS)) < at / SEGMENTS * 0.3,
}


@pytest.mark.parametrize("kind", FAILURES)
def test_it_covers_the_true_rate_at_every_time_in_95_of_100_runs(kind: str) -> None:
    source = np.random.default_rng(7)
    failed = FAILURES[kind](source, np.arange(SEGMENTS))
    audited = failed & (source.random((RUNS, SEGMENTS)) < SHARE)
    true, seen = failed.cumsum(1), audited.cumsum(1)  # (RUNS, SEGMENTS)
    many = 10**6  # segments: so that only the audits bound the failures, not how many there were at all
    bounds = np.array(
        [
            many * failure_rate_at_most(Audits(SHARE, many, count, count, count), CONFIDENCE)
            for count in range(int(seen.max()) + 1)
        ]
    )
    assert (true <= bounds[seen]).all(axis=1).mean() >= CONFIDENCE
    lower = np.array(
        [
            many * failure_rate_at_least(Audits(SHARE, many, count, count, count), CONFIDENCE)
            for count in range(int(seen.max()) + 1)
        ]
    )
    assert (lower[seen] <= true).all(axis=1).mean() >= CONFIDENCE
    assert (lower[seen][:, -1] > 0.3 * true[:, -1]).mean() > 0.5 or kind == "rare"  # and it says something


def test_the_bound_is_where_the_evidence_excludes_more() -> None:
    audits = Audits(SHARE, segments=10_000, asked=500, done=500, failed=20)
    failed = failure_rate_at_most(audits, CONFIDENCE) * audits.segments
    assert log_evidence(failed, 20, SHARE) == pytest.approx(-math.log(1 - CONFIDENCE), abs=1e-3)


@pytest.mark.parametrize(
    ("segments", "failed", "least", "most"),
    [(100, 0, 0.9, 1.0), (10_000, 0, 0.005, 0.02), (100_000, 200, 0.04, 0.06), (10**7, 20_000, 0.04, 0.0415)],
)
def test_it_gets_sharper_with_time(segments: int, failed: int, least: float, most: float) -> None:
    asked = round(segments * SHARE)
    assert least <= failure_rate_at_most(Audits(SHARE, segments, asked, asked, failed), CONFIDENCE) <= most


def test_nothing_is_promised_before_anything_was_seen() -> None:
    assert failure_rate_at_most(Audits(SHARE, 0, 0, 0, 0), CONFIDENCE) == 1.0
    assert failure_rate_at_least(Audits(SHARE, 0, 0, 0, 0), CONFIDENCE) == 0.0


def test_audits_that_do_not_come_prove_no_failure() -> None:
    silent = Audits(SHARE, 10_000, 500, 400, 50)
    assert failure_rate_at_least(silent, CONFIDENCE) == failure_rate_at_least(
        replace(silent, done=500), CONFIDENCE
    )


def test_audits_that_do_not_come_count_as_failed() -> None:
    answered = Audits(SHARE, 10_000, 500, 500, 10)
    silent = replace(answered, done=400)
    as_failed = replace(answered, failed=110)
    assert failure_rate_at_most(silent, CONFIDENCE) == failure_rate_at_most(as_failed, CONFIDENCE)


def test_dropped_segments_are_failures_that_need_no_audit() -> None:
    audits = Audits(SHARE, 10_000, 500, 500, 0)
    rate = failure_rate_at_most(audits, CONFIDENCE)
    assert failure_rate_at_most(replace(audits, dropped=10_000), CONFIDENCE) == pytest.approx((1 + rate) / 2)


counts = st.integers(0, 2000)


@given(segments=counts, asked=counts, done=counts, failed=counts, dropped=counts)
def test_it_is_a_rate_and_never_below_what_audits_showed(
    segments: int, asked: int, done: int, failed: int, dropped: int
) -> None:
    asked, done = min(asked, segments), min(done, asked, segments)
    audits = Audits(SHARE, segments, asked, done, min(failed, done), dropped)
    rate = failure_rate_at_most(audits, CONFIDENCE)
    known = (audits.failed + dropped) / max(1, segments + dropped)
    assert known - 1e-9 <= rate <= 1
    least = failure_rate_at_least(audits, CONFIDENCE)
    assert known - 1e-9 <= least <= rate + 1e-9
    suggested = (audits.failed / SHARE + dropped) / max(1, segments + dropped)
    assert least <= suggested + 1e-9


def test_cameras_of_one_tenant_add_up() -> None:
    one, other = Audits(SHARE, 100, 5, 5, 1, 2), Audits(SHARE, 50, 3, 2, 0, 1)
    assert one + other == Audits(SHARE, 150, 8, 7, 1, 3)
    with pytest.raises(ValueError, match="cannot be added"):
        one + replace(other, share=0.1)
