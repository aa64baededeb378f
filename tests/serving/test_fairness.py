"""Fair queueing: tenants that always have something waiting get FLOPs by their shares."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serving.ingress.fairness import FairQueue, Work


def work(tenant: str, camera: str = "", cost: float = 1.0, share: float = 1.0) -> Work:
    return Work(tenant, camera or f"{tenant}-{id(object())}", share, cost, service_s=cost, expires=1e9)


def fill(queue: FairQueue, tenant: str, count: int, cost: float = 1.0, share: float = 1.0) -> None:
    for number in range(count):
        queue.put(work(tenant, f"{tenant}{number}", cost, share))


def taken(queue: FairQueue, count: int) -> list[Work]:
    return [found for _ in range(count) if (found := queue.take()) is not None]


def test_of_one_tenants_segments_the_oldest_comes_first() -> None:
    queue = FairQueue()
    fill(queue, "acme", 4)
    assert [found.camera for found in taken(queue, 4)] == ["acme0", "acme1", "acme2", "acme3"]
    assert queue.take() is None


@given(
    costs=st.tuples(st.floats(0.1, 20), st.floats(0.1, 20)),
    shares=st.tuples(st.floats(0.5, 4), st.floats(0.5, 4)),
)
def test_work_is_divided_by_share_whatever_segments_cost(
    costs: tuple[float, float], shares: tuple[float, float]
) -> None:
    queue, given = FairQueue(), Counter[str]()
    for name, cost, share in zip("ab", costs, shares, strict=True):
        fill(queue, name, 50, cost, share)
    while queue.count("a") and queue.count("b"):
        found = queue.take()
        assert found is not None
        given[found.tenant] += found.cost / found.share
    # Neither is ever ahead by more than one segment of each (Goyal et al., theorem 1).
    assert abs(given["a"] - given["b"]) <= costs[0] / shares[0] + costs[1] / shares[1] + 1e-9


@given(
    steps=st.lists(st.tuples(st.sampled_from(["a", "b", "c", ""]), st.floats(0.1, 9)), max_size=40),
    tenant=st.sampled_from("abc"),
)
def test_who_would_come_before_is_told_as_it_then_happens(
    steps: list[tuple[str, float]], tenant: str
) -> None:
    queue = FairQueue()
    for number, (name, cost) in enumerate(steps):
        if name:
            queue.put(work(name, f"{name}{number}", cost, {"a": 1.0, "b": 2.0, "c": 0.5}[name]))
        else:
            queue.take()
    mine = work(tenant, "mine", share={"a": 1.0, "b": 2.0, "c": 0.5}[tenant])
    told, waiting = queue.ahead_of(mine), len(queue)
    assert len(queue) == waiting == len(list(queue))
    queue.put(mine)
    assert taken(queue, len(told) + 1) == [*told, mine]


def test_a_flood_leaves_the_others_their_turn() -> None:
    queue = FairQueue()
    fill(queue, "flood", 500)
    taken(queue, 100)
    queue.put(work("quiet"))
    assert "quiet" in [found.tenant for found in taken(queue, 2)]


def test_who_comes_back_has_no_credit_for_the_time_away_but_for_one_segment() -> None:
    queue = FairQueue()
    fill(queue, "busy", 100)
    taken(queue, 60)
    fill(queue, "back", 40)
    found = [one.tenant for one in taken(queue, 21)]
    assert found[:2] == ["back", "back"]
    assert Counter(found) == {"busy": 10, "back": 11}


def test_who_leaves_and_returns_at_once_gains_nothing() -> None:
    queue, served = FairQueue(), Counter[str]()
    fill(queue, "steady", 100)
    for number in range(40):
        queue.put(work("hopper", f"hopper{number}", cost=4.0))  # only ever one waiting
        found = queue.take()
        assert found is not None
        served[found.tenant] += found.cost
        for other in list(queue):
            if other.tenant == "hopper":
                queue.remove(other)
    assert served["hopper"] <= served["steady"] + 4.0


def test_a_newer_segment_of_a_camera_takes_the_olders_place() -> None:
    queue = FairQueue()
    older, newer = work("acme", "gate"), work("acme", "gate")
    assert queue.put(older) is None
    queue.put(work("acme", "yard"))
    assert queue.put(newer) is older
    assert queue.take() is newer
    assert not queue.remove(older)


def test_what_nobody_waits_for_leaves_the_queue() -> None:
    queue, given_up = FairQueue(), work("acme")
    queue.put(given_up)
    assert queue.remove(given_up)
    assert (len(queue), queue.take()) == (0, None)


def test_the_heaviest_tenant_is_so_by_work_and_share_not_by_number() -> None:
    queue = FairQueue()
    fill(queue, "many", 10, cost=1)
    fill(queue, "large", 2, cost=8)
    fill(queue, "paying", 4, cost=8, share=4)
    heaviest = queue.newest_of_heaviest()
    assert heaviest is not None
    assert heaviest.camera == "large1"


def test_tenants_that_are_gone_leave_nothing_behind() -> None:
    queue = FairQueue()
    for number in range(1000):
        queue.put(work(f"tenant{number}", cost=0.5))
        queue.take()
        queue.put(work("steady", f"{number}", cost=1.0))
        queue.take()
    assert len(queue._ended) < 10
