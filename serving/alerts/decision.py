"""Which alerts open and which close: pure functions of what is known of a tenant's cameras.

Each sweep gives every *subject* (a camera's silence, a camera's promise, the tenant's promise) a standing. A
bad one opens an alert unless it is open, a good one closes it, and an unsure one leaves things as they are:
so nothing is told twice, and nothing flickers at a border.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clients.alerts import AlertKind
from serving.promise import Audits, failure_rate_at_least

RECOVERED = 0.9
"""A broken promise is kept again once the bound is below this share of it."""

Standing = Literal["bad", "unsure", "good"]


class AlertOptions(BaseModel):
    """Section `alerts` of `configs/serving.yaml`; times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sweep_s: float = Field(5.0, gt=0, le=3600)
    timeout_s: float = Field(10.0, gt=0, le=30)
    backoff_s: float = Field(5.0, gt=0, le=3600)
    backoff_most_s: float = Field(3600.0, gt=0, le=86_400)
    attempts: int = Field(20, ge=1, le=100)
    private_networks: bool = False
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """What an alert is about; `camera` is None for the tenant's cameras together."""

    kind: AlertKind
    camera: str | None

    def __str__(self) -> str:
        return f"{self.kind}:{self.camera or ''}"


@dataclass(frozen=True, slots=True)
class Sign:
    """What is known of one registered camera: when its last segment was accepted (Unix seconds, None before
    the first), and what its audits showed (None before the first was drawn)."""

    camera: str
    name: str
    last_at: float | None
    audits: Audits | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a tenant is promised, and how its audits are drawn."""

    silent_after_s: float
    failure_rate: float
    share: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Finding:
    """How a subject stands, and a line about it for people."""

    standing: Standing
    name: str | None
    detail: str


def findings(
    signs: Sequence[Sign], rules: Rules, now: float, watched_since: float
) -> Iterator[tuple[Subject, Finding]]:
    """How every subject of a tenant stands. Time before `watched_since` (Unix seconds) makes nobody silent:
    then the server was away, not the camera."""
    for sign in signs:
        if sign.last_at is not None:
            yield Subject("silent", sign.camera), _silence(sign, sign.last_at, rules, now, watched_since)
        if sign.audits is not None and sign.audits.share == rules.share:
            yield Subject("promise", sign.camera), _promise(sign.audits, sign.name, rules)
    yield Subject("promise", None), _promise(counted(signs, rules.share), None, rules)


def counted(signs: Iterable[Sign], share: float) -> Audits:
    """The audits of all cameras together, as far as they were drawn with this share."""
    total = Audits(share, 0, 0, 0, 0)
    for sign in signs:
        if sign.audits is not None and sign.audits.share == share:
            total += sign.audits
    return total


def changes(open_alerts: Set[str], found: Mapping[str, Finding]) -> tuple[frozenset[str], frozenset[str]]:
    """The subjects whose alerts open and those whose alerts close. What is not found any more, such as a
    deleted camera, closes."""
    opening = {subject for subject, finding in found.items() if finding.standing == "bad"} - open_alerts
    closing = {
        subject for subject in open_alerts if subject not in found or found[subject].standing == "good"
    }
    return frozenset(opening), frozenset(closing)


def _silence(sign: Sign, last_at: float, rules: Rules, now: float, watched_since: float) -> Finding:
    quiet = now - last_at
    if quiet <= rules.silent_after_s:
        return Finding("good", sign.name, "Segments are accepted again.")
    detail = f"No segment was accepted for {quiet:.0f} s; {rules.silent_after_s:g} s make an alert."
    watched = now - max(last_at, watched_since) > rules.silent_after_s
    return Finding("bad" if watched else "unsure", sign.name, detail)


def _promise(audits: Audits, name: str | None, rules: Rules) -> Finding:
    total = audits.segments + audits.dropped
    suggested = 0.0 if total == 0 else (audits.failed / audits.share + audits.dropped) / total
    # The bound is never above what audits suggest, and costs a thousand times as much.
    rate = (
        0.0
        if suggested <= rules.failure_rate * RECOVERED
        else failure_rate_at_least(audits, rules.confidence)
    )
    if rate > rules.failure_rate:
        return Finding(
            "bad",
            name,
            f"At least {100 * rate:.1f} % of {total} segments fell short of their target (confidence "
            f"{100 * rules.confidence:g} %); {100 * rules.failure_rate:g} % are promised.",
        )
    standing: Standing = "good" if rate <= rules.failure_rate * RECOVERED else "unsure"
    return Finding(
        standing, name, f"Not more than the promised {100 * rules.failure_rate:g} % is shown any more."
    )
