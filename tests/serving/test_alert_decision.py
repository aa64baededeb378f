"""Which alerts open and which close, for any cameras at any time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.alerts.decision import Finding, Rules, Sign, Standing, Subject, changes, findings
from serving.promise import Audits, failure_rate_at_least

SHARE = 0.05
RULES = Rules(silent_after_s=60, failure_rate=0.1, share=SHARE, confidence=0.95)
NOW, LONG_AGO = 10_000.0, 0.0

times = st.one_of(st.none(), st.floats(0, NOW))
counts = st.integers(0, 3000)


@st.composite
def audits(draw: st.DrawFn) -> Audits | None:
    segments = draw(counts)
    asked = draw(st.integers(0, segments))
    done = draw(st.integers(0, asked))
    share = draw(st.sampled_from([SHARE, 0.5]))
    found = Audits(share, segments, asked, done, draw(st.integers(0, done)), draw(counts))
    return draw(st.sampled_from([None, found]))


signs = st.lists(st.tuples(times, audits()), max_size=6).map(
    lambda found: [Sign(f"cam-{i}", f"gate {i}", at, held) for i, (at, held) in enumerate(found)]
)
subjects = st.sampled_from(
    [f"{kind}:{camera}" for kind in ("silent", "promise") for camera in ("", "a", "b")]
)
open_alerts = st.sets(subjects)
found = st.dictionaries(
    subjects, st.sampled_from(["bad", "unsure", "good"]).map(lambda standing: Finding(standing, None, ""))
)


def standing(cameras: Sequence[Sign], subject: Subject, since: float = LONG_AGO) -> Standing | None:
    finding = dict(findings(cameras, RULES, NOW, since)).get(subject)
    return None if finding is None else finding.standing


@given(open_alerts, found)
def test_what_opens_was_not_open_and_what_closes_was(held: set[str], seen: dict[str, Finding]) -> None:
    opening, closing = changes(held, seen)
    assert not opening & held
    assert closing <= held
    assert all(seen[subject].standing == "bad" for subject in opening)
    assert all(subject not in seen or seen[subject].standing == "good" for subject in closing)


@given(open_alerts, found)
def test_looking_twice_tells_nothing_twice(held: set[str], seen: dict[str, Finding]) -> None:
    opening, closing = changes(held, seen)
    assert changes((held | opening) - closing, seen) == (frozenset(), frozenset())


@given(open_alerts, found)
def test_afterwards_everything_bad_is_open_and_nothing_good_is(
    held: set[str], seen: dict[str, Finding]
) -> None:
    opening, closing = changes(held, seen)
    after = (held | opening) - closing
    assert {s for s, f in seen.items() if f.standing == "bad"} <= after
    assert not {s for s, f in seen.items() if f.standing == "good"} & after


@given(signs, st.floats(0, NOW))
def test_a_camera_is_silent_when_nothing_came_for_so_long_while_it_was_watched(
    cameras: list[Sign], since: float
) -> None:
    for sign in cameras:
        verdict = standing(cameras, Subject("silent", sign.camera), since)
        if sign.last_at is None:
            assert verdict is None  # it was never active
        elif sign.last_at >= NOW - 60:
            assert verdict == "good"
        else:
            assert verdict == ("bad" if since < NOW - 60 else "unsure")


@given(signs)
def test_a_promise_is_broken_only_above_its_certified_bound(cameras: list[Sign]) -> None:
    counted = [sign.audits for sign in cameras if sign.audits and sign.audits.share == SHARE]
    total = sum(counted[1:], counted[0]) if counted else None
    of_cameras = [(Subject("promise", sign.camera), sign.audits) for sign in cameras]
    for subject, held in [*of_cameras, (Subject("promise", None), total)]:
        verdict = standing(cameras, subject)
        if held is None or held.share != SHARE:
            assert verdict in (None, "good")
            continue
        rate = failure_rate_at_least(held, RULES.confidence)
        assert verdict == ("bad" if rate > 0.1 else "unsure" if rate > 0.09 else "good")


def test_an_outage_of_the_server_opens_no_alert_and_closes_none() -> None:
    camera = [Sign("a", "gate", NOW - 3600, None)]
    seen = {str(subject): finding for subject, finding in findings(camera, RULES, NOW, NOW - 5)}
    assert changes(set(), seen) == (frozenset(), frozenset())
    assert changes({"silent:a"}, seen) == (frozenset(), frozenset())


def test_a_deleted_camera_has_no_alerts() -> None:
    seen = {str(subject): finding for subject, finding in findings([], RULES, NOW, LONG_AGO)}
    assert changes({"silent:a", "promise:a", "promise:"}, seen)[1] == {"silent:a", "promise:a", "promise:"}


@pytest.mark.parametrize(("failed", "expected"), [(20, "good"), (60, "bad")])
def test_many_failures_break_the_promise_of_the_camera_and_of_the_tenant(
    failed: int, expected: Standing
) -> None:
    camera = [Sign("a", "gate", NOW, Audits(SHARE, 5000, 250, 250, failed))]
    assert standing(camera, Subject("promise", "a")) == expected
    assert standing(camera, Subject("promise", None)) == expected
