"""Alerts and dashboard are sound PromQL; tests/application/test_metrics.py holds them against an export."""

from __future__ import annotations

import promql_parser
import pytest

from tests.k8s.conftest import PAGE
from tests.k8s.monitoring import dashboard_expressions, records, rules, selectors


def test_what_is_recorded_is_used_and_what_is_used_is_recorded() -> None:
    asked = {
        selector.name
        for expression in [*(rule["expr"] for rule in rules()), *dashboard_expressions()]
        for selector in selectors(promql_parser.parse(expression))
    }
    assert {name for name in asked if ":" in name} == records()


@pytest.mark.parametrize("promise", ["PenanceSegmentsFail", "PenanceSegmentsSlow"])
def test_a_budget_that_burns_wakes_somebody_by_two_windows(promise: str) -> None:
    burning = {rule["labels"]["window"]: rule["expr"] for rule in rules() if rule.get("alert") == promise}
    assert set(burning) == {"1h", "6h"}
    for window, short, factor in (("1h", "5m", "14.4"), ("6h", "30m", "6")):
        names = {
            selector.name.rpartition("share")[2]
            for selector in selectors(promql_parser.parse(burning[window]))
        }
        assert names == {window, short}
        assert burning[window].count(f"> {factor} * ") == 2


def test_the_page_says_what_to_do_at_every_alert() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## When an alert comes")[2].partition("\n## ")[0]
    assert {rule["alert"] for rule in rules() if "alert" in rule} == {
        word for word in section.replace("`", " ").replace(",", " ").split() if word.startswith("Penance")
    }
