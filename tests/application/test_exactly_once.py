"""Exactly once, through kills: what Redis holds equals a sequential reference over the commits."""

from __future__ import annotations

from pathlib import Path

from configs.bundle import Bundle
from load_tests.application import RunningApplication
from load_tests.chaos.exactly_once import KILLED, send_through_kills

CAMERAS, SEGMENTS_EACH = 20, 50


def test_a_thousand_segments_through_kills_are_counted_exactly_once(
    application: RunningApplication, bundle: Path
) -> None:
    report = send_through_kills(application, Bundle.load(bundle), CAMERAS, SEGMENTS_EACH, len(KILLED))
    assert report.differences == ()
    assert report.kills == KILLED
    # a drop after the last segment is not reported
    assert report.settled >= CAMERAS * (SEGMENTS_EACH - 1)
