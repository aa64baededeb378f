"""Admission is a pure decision, so whole machines under load are simulated here without a clock."""

from __future__ import annotations

import math
import random
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.ingress.admission import (
    CAUTION,
    DOUBT_S,
    SPREADS,
    AdmissionOptions,
    BrownOut,
    BrownOutThresholds,
    ServiceTimes,
    decide,
    may_start,
    over_share,
)
from serving.ingress.fairness import FairQueue, Work

OPTIONS = AdmissionOptions(lanes=2, express=1, waiting=128, waiting_per_tenant=64)
seconds = st.floats(0.001, 10)


def work(tenant: str = "acme", service_s: float = 0.1, expires: float = 1e9, share: float = 1.0) -> Work:
    return Work(tenant, f"{tenant}-{random.random()}", share, service_s * 1e11, service_s, expires)


def queued(waiting: list[Work]) -> FairQueue:
    queue = FairQueue()
    for item in waiting:
        queue.put(item)
    return queue


def test_nothing_is_known_yet_so_the_first_segment_is_admitted() -> None:
    assert sum(ServiceTimes().expect(3, 10**9)) == 0.0
    assert decide(work(service_s=0.0, expires=0.01), 0.0, [], FairQueue(), OPTIONS).admitted


@given(service=seconds, remaining=seconds)
def test_with_a_free_lane_a_segment_is_judged_by_its_own_service_time(
    service: float, remaining: float
) -> None:
    admission = decide(work(service_s=service, expires=remaining), 0.0, [work()], FairQueue(), OPTIONS)
    assert admission.admitted == (service <= remaining)
    assert admission.expected_s == service


def test_what_would_be_late_is_refused_with_the_time_after_which_it_would_not() -> None:
    running, waiting = [work(service_s=1.0)] * 2, [work(service_s=1.0) for _ in range(4)]
    refusal = decide(work(service_s=1.0, expires=2.0), 0.0, running, queued(waiting), OPTIONS)
    assert not refusal.admitted
    assert refusal.expected_s == pytest.approx(1.0 + CAUTION * (1.0 + 4.0) / 2)
    assert refusal.retry_after_s == pytest.approx(refusal.expected_s - 2.0)
    assert f"{refusal.expected_s:.2f} s" in refusal.reason


def test_a_floods_backlog_makes_only_its_own_tenant_wait() -> None:
    queue = queued([work("flood") for _ in range(62)])
    running = [item for item in (queue.take(), queue.take()) if item is not None]
    own = decide(work("flood", expires=1.0), 0.0, running, queue, OPTIONS)
    other = decide(work("quiet", expires=1.0), 0.0, running, queue, OPTIONS)
    assert (own.admitted, other.admitted) == (False, True)
    assert other.expected_s == pytest.approx(0.1 + 0.1 / 2)  # without caution
    cheap = decide(work("quiet", 0.05, expires=1.0), 0.0, running, queue, OPTIONS)
    assert cheap.expected_s == 0.05  # it gets an express lane


def test_a_tenant_under_its_share_of_late_is_spared_caution_though_more_of_it_is_at_work_just_now() -> None:
    queue = queued([work("flood") for _ in range(20)] + [work("quiet") for _ in range(10)])
    while queue.take() is not None:
        pass
    running = [work("quiet", 1.0)] * 2
    quiet, flood = (decide(work(name, 1.0), 0.0, running, queue, OPTIONS) for name in ("quiet", "flood"))
    assert quiet.expected_s == pytest.approx(1.0 + 0.5)
    assert flood.expected_s == pytest.approx(1.0 + CAUTION * 0.5)


def test_an_express_lane_is_for_tenants_that_have_nothing_at_work_beside_dearer_segments() -> None:
    flood = [work("flood", 1.0), work("flood")]
    assert may_start(work("quiet"), flood, OPTIONS)
    assert not may_start(work("quiet", 1.0), flood, OPTIONS)
    assert not may_start(work("flood"), flood, OPTIONS)
    assert may_start(work("flood"), flood[:1], OPTIONS)
    assert not may_start(work("third"), [*flood, work("quiet")], OPTIONS)
    assert not may_start(work("quiet"), flood, OPTIONS.model_copy(update={"express": 0}))


def test_a_tenant_has_only_so_many_waiting_whatever_its_deadlines() -> None:
    waiting = [work(service_s=0.0) for _ in range(OPTIONS.waiting_per_tenant)]
    assert not decide(work(), 0.0, [work()] * 2, queued(waiting), OPTIONS).admitted
    assert decide(work("other"), 0.0, [work()] * 2, queued(waiting), OPTIONS).admitted


def test_things_are_left_out_in_the_documented_order() -> None:
    thresholds = BrownOutThresholds(audits=1, label_maps=2, targets=3, shares=4)
    levels = [thresholds.level(backlog) for backlog in (0.5, 1.5, 2.5, 3.5, 4.5)]
    assert levels == list(BrownOut)


def test_under_pressure_tenants_over_their_share_are_refused_and_others_are_not() -> None:
    waiting = [work("flood", 0.5) for _ in range(20)] + [work("quiet", 0.5)]
    running = [work("flood", 0.5)] * 2
    assert not decide(work("flood", 0.5), 0.0, running, queued(waiting), OPTIONS).admitted
    assert decide(work("quiet", 0.5), 0.0, running, queued(waiting), OPTIONS).admitted


def test_a_tenant_alone_is_never_over_its_share() -> None:
    assert not over_share(work(), [work() for _ in range(50)])


def test_a_larger_share_holds_more() -> None:
    waiting = [work("large", share=4.0) for _ in range(3)] + [work("small") for _ in range(2)]
    assert not over_share(work("large", share=4.0), waiting)
    assert over_share(work("small"), waiting)


@given(services=st.lists(seconds, min_size=1, max_size=20))
def test_a_service_time_follows_what_is_observed(services: list[float]) -> None:
    times = ServiceTimes()
    for service in services:
        times.observe(3, 10**9, service)
    spread = max(services) - min(services)
    assert min(services) * 0.999 <= sum(times.expect(3, 10**9)) <= (max(services) + SPREADS * spread) * 1.001


def test_what_takes_now_this_and_now_that_long_is_reckoned_with_more_than_its_average() -> None:
    steady, unsteady = ServiceTimes(), ServiceTimes()
    for number in range(60):
        steady.observe(3, 10**9, 1.0)
        unsteady.observe(3, 10**9, 0.7 if number % 2 else 1.3)
    assert sum(steady.expect(3, 10**9)) == pytest.approx(1.0)
    assert 1.4 < sum(unsteady.expect(3, 10**9)) < 1.8


def test_a_slow_start_does_not_refuse_all_that_follow_for_ever() -> None:
    times, now = ServiceTimes(), 100.0
    times.observe(2, 10**9, 33.0, now)
    refused = 0
    while sum(times.expect(2, 10**9, 2.0, now)) > 2.0:
        now, refused = now + 0.1, refused + 1
    assert now - 100.0 == pytest.approx(DOUBT_S, abs=0.2)
    assert refused >= 49
    times.observe(2, 10**9, 0.4, now)
    assert sum(times.expect(2, 10**9, 2.0, now)) == 0.4


def test_what_the_first_ones_took_while_networks_were_compiled_is_no_expectation() -> None:
    times = ServiceTimes()
    for seconds in (4.0, 3.0, 0.1):
        times.observe(4, 10**9, seconds)
    assert sum(times.expect(4, 10**9)) == pytest.approx(0.1)
    for _ in range(40):  # what is slow for good is believed
        times.observe(4, 10**9, 1.0)
    assert times.expect(4, 10**9).service_s == pytest.approx(1.0, abs=0.01)


def test_what_took_long_among_many_is_not_refused_alone() -> None:
    times = ServiceTimes()
    for _ in range(20):
        times.observe(2, 10**9, 2.0, crowd=4)
    assert sum(times.expect(2, 10**9, crowd=4)) == pytest.approx(2.0)
    assert sum(times.expect(2, 10**9, crowd=1)) == pytest.approx(0.5)
    assert sum(times.expect(2, 10**9, crowd=8)) == pytest.approx(2.0)
    for _ in range(20):  # where lanes share nothing, that is soon found out
        times.observe(2, 10**9, 2.0, crowd=1)
    assert sum(times.expect(2, 10**9, crowd=1)) == pytest.approx(2.0, rel=0.1)


def test_what_really_takes_longer_than_is_left_is_let_through_once_in_a_while_only() -> None:
    times, now, let_through = ServiceTimes(), 0.0, 0
    times.observe(0, 10**11, 0.9, now)
    for _ in range(600):
        now += 0.1
        if sum(times.expect(0, 10**11, 0.5, now)) <= 0.5:
            let_through += 1
            times.observe(0, 10**11, 0.9, now)
    assert 1 <= let_through <= 60 / DOUBT_S


def test_sizes_that_were_never_seen_are_judged_by_the_nearest_of_their_variant() -> None:
    times = ServiceTimes()
    times.observe(0, 10**11, 0.4)
    times.observe(0, 10**9, 0.02)
    assert sum(times.expect(0, 6 * 10**10)) == pytest.approx(0.24)
    assert sum(times.expect(0, 2 * 10**9)) == pytest.approx(0.04)
    assert sum(times.expect(1, 10**11)) == 0.0
    assert sum(times.expect(0, 5 * 10**11)) == 0.0  # nothing as large was measured: it is tried, not refused


def test_no_camera_is_sent_away_for_long() -> None:
    refusal = decide(work(service_s=1000.0, expires=10.0), 0.0, [], FairQueue(), OPTIONS)
    assert not refusal.admitted
    assert refusal.retry_after_s == DOUBT_S


@dataclass
class Machine:
    """The queue and the decisions of an ingress over as many processors as lanes.

    Segments take as long as they are said to, but where express ones run beside, all share the processors."""

    deadline_s: float
    options: AdmissionOptions = OPTIONS
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # at once
    kept_waiting: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # in vain
    longest_queue: int = 0

    def run(self, arrivals: list[tuple[float, str, float]]) -> Machine:
        """Arrivals are (time, tenant, service seconds); each is from a camera of its own."""
        queue, left, came, now = FairQueue(), dict[Work, float](), dict[Work, float](), 0.0
        arriving = deque(
            (at, Work(tenant, str(number), 1.0, service * 1e11, service, at + self.deadline_s))
            for number, (at, tenant, service) in enumerate(sorted(arrivals))
        )
        while arriving or left:
            speed = min(1.0, self.options.lanes / max(1, len(left)))
            first = min(left, key=lambda item: left[item], default=None)
            ends = now + left[first] / speed if first is not None else math.inf
            arrives = arriving[0][0] if arriving else math.inf
            then = min(ends, arrives)
            left = {item: seconds - speed * (then - now) for item, seconds in left.items()}
            now = then
            if ends <= arrives:
                assert first is not None
                del left[first]
                self.latencies[first.tenant].append(now - came[first])
            else:
                _, arrived = arriving.popleft()
                if decide(arrived, now, left, queue, self.options).admitted:
                    came[arrived] = now
                    queue.put(arrived)
                else:
                    self.refused[arrived.tenant] += 1
            self.longest_queue = max(self.longest_queue, len(queue))
            while (item := queue.next()) is not None and may_start(item, left, self.options):
                queue.take()
                if now + item.service_s > item.expires:
                    self.kept_waiting[item.tenant] += 1
                    continue
                left[item] = item.service_s
        return self

    def p95(self, tenant: str) -> float:
        return float(np.percentile(self.latencies[tenant], 95))

    def goodput(self) -> int:
        """Segments that were answered in time."""
        late = [x for found in self.latencies.values() for x in found if x > self.deadline_s + 1e-9]
        assert not late, "served late"
        return sum(len(found) for found in self.latencies.values())


def stream(
    tenant: str, rate: float, service_s: float, seconds: float = 60.0
) -> list[tuple[float, str, float]]:
    """Poisson arrivals."""
    source, at, found = random.Random(tenant), 0.0, []
    while (at := at + source.expovariate(rate)) < seconds:
        found.append((at, tenant, service_s))
    return found


@pytest.mark.parametrize("service_s", [0.1, 0.4])
def test_a_flood_of_ten_times_its_share_slows_only_itself(service_s: float) -> None:
    """Capacity is 20 segments of 0.1 s a second. The flood's are as cheap, or the most expensive."""
    share = 1.0 / service_s
    quiet = stream("quiet", 9, 0.1)
    fair = Machine(deadline_s=2.0).run(quiet + stream("flood", share, service_s))
    flooded = Machine(deadline_s=2.0).run(quiet + stream("flood", 10 * share, service_s))
    assert flooded.refused["quiet"] == flooded.kept_waiting["quiet"] == 0
    assert len(flooded.latencies["quiet"]) == len(quiet)
    assert flooded.p95("quiet") < 1.25 * fair.p95("quiet")
    assert flooded.refused["flood"] > 0


def test_past_saturation_goodput_stays_and_queues_are_bounded() -> None:
    peak = Machine(deadline_s=1.0).run(stream("a", 10, 0.1) + stream("b", 10, 0.1)).goodput()
    tripled = Machine(deadline_s=1.0).run(stream("a", 30, 0.1) + stream("b", 30, 0.1))
    assert tripled.goodput() >= 0.9 * peak
    assert sum(tripled.kept_waiting.values()) < 0.05 * sum(tripled.refused.values())
    assert tripled.longest_queue <= OPTIONS.waiting
