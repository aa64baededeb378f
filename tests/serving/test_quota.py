"""Quotas: token buckets in Redis, by Redis's clock, and a replica's own while it is away."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.administration import LimitsPatch, TenantLimits
from serving.problems import QuotaExceeded
from serving.quota import BURST_S, Buckets, Holder, Quotas
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from serving.tenant_cache import CACHE_S

LIMITS = TenantLimits(cameras=5, segments_per_s=2, gflops_per_s=100, bytes_per_s=1e6)
RATES = {"segments_per_s": 2.0, "gflops_per_s": 100.0, "bytes_per_s": 1e6}


def segment(gflops: float = 1.0, size: float = 1000.0) -> dict[str, float]:
    return {"segments_per_s": 1.0, "gflops_per_s": gflops, "bytes_per_s": size}


def test_a_full_bucket_holds_a_burst_and_then_the_wait_is_exact() -> None:
    buckets = Buckets()
    for _ in range(round(2 * BURST_S)):
        assert buckets.take(RATES, segment(), now=100.0) == ("", 0.0)
    assert buckets.take(RATES, segment(), now=100.0) == ("segments_per_s", 0.5)
    assert buckets.take(RATES, segment(), now=100.49)[1] == pytest.approx(0.01)
    assert buckets.take(RATES, segment(), now=100.5) == ("", 0.0)


def test_a_refusal_takes_nothing_from_any_bucket() -> None:
    buckets = Buckets()
    buckets.take(RATES, segment(gflops=500), now=0.0)
    before = dict(buckets.levels)
    assert buckets.take(RATES, segment(gflops=1), now=0.0)[0] == "gflops_per_s"
    assert buckets.levels == before


def test_what_never_fits_a_bucket_is_let_through_and_paid_off() -> None:
    buckets = Buckets()
    assert buckets.take(RATES, segment(gflops=2000), now=0.0) == ("", 0.0)
    assert buckets.take(RATES, segment(gflops=1), now=0.0) == ("gflops_per_s", pytest.approx(15.01))


amounts = st.floats(0.01, 400)
steps = st.lists(st.tuples(st.floats(0, 10), amounts), max_size=40)


@given(steps=steps)
def test_over_any_time_no_more_is_taken_than_the_rate_and_one_burst_allow(
    steps: list[tuple[float, float]],
) -> None:
    buckets, now, taken = Buckets(), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if not buckets.take({"gflops_per_s": 100.0}, {"gflops_per_s": amount}, now)[0]:
            taken += amount
    assert taken <= 100.0 * (BURST_S + now) + 1e-6


@given(steps=steps)
def test_after_the_wait_that_was_told_it_is_let_through(steps: list[tuple[float, float]]) -> None:
    buckets, now = Buckets(), 0.0
    for pause, amount in steps:
        now += pause
        wanted = {"gflops_per_s": amount}
        scarce, wait = buckets.take({"gflops_per_s": 100.0}, wanted, now)
        if scarce:
            now += wait + 1e-6
            assert buckets.take({"gflops_per_s": 100.0}, wanted, now) == ("", 0.0)


@given(takes=st.lists(amounts, min_size=1, max_size=15))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_script_equals_the_reference_to_the_last_bit(server: EmbeddedServer, takes: list[float]) -> None:
    async def run() -> None:
        store, reference = StateStore(server.url, answers_kept=8, lease_s=1), Buckets()
        script = store.tenants._take
        key = f"{{{uuid.uuid4().hex}}}:buckets"
        for amount in takes:
            wanted = segment(gflops=amount * 10)
            arguments = [repr(BURST_S)]
            for name, value in wanted.items():
                arguments += [name, repr(RATES[name]), repr(value)]
            scarce, wait, now = await script(keys=[key], args=arguments)
            assert (scarce, float(wait)) == reference.take(RATES, wanted, float(now))
        held = await store._redis.hgetall(key)
        assert {name: float(held[name]) for name in reference.levels} == reference.levels
        await store.close()

    asyncio.run(run())


async def test_all_ingress_replicas_draw_from_the_same_buckets(store: StateStore, tenant: str) -> None:
    one, other = Quotas(store.tenants, LIMITS), Quotas(store.tenants, LIMITS)
    for _ in range(5):
        await one.take(Holder(tenant), segment())
        await other.take(Holder(tenant), segment())
    with pytest.raises(QuotaExceeded) as refusal:
        await one.take(Holder(tenant), segment())
    assert refusal.value.retry_after_s == pytest.approx(0.5, abs=0.2)
    assert "2 segments a second" in refusal.value.detail


async def test_what_is_given_back_can_be_taken_again(store: StateStore, tenant: str) -> None:
    quotas = Quotas(store.tenants, LIMITS)
    for _ in range(30):
        await quotas.take(Holder(tenant), segment())
        await quotas.give_back(Holder(tenant), segment())


async def test_one_tenant_cannot_use_anothers_quota_up(store: StateStore, tenant: str) -> None:
    quotas = Quotas(store.tenants, LIMITS)
    for _ in range(10):
        await quotas.take(Holder(tenant), segment())
    with pytest.raises(QuotaExceeded):
        await quotas.take(Holder(tenant), segment())
    await quotas.take(Holder(f"{tenant}-2"), segment())


OWN = {"segments_per_s": 0.02}
"""One segment, then none for 50 s: longer than any test stands still."""
FEW = LIMITS.model_copy(update={"segments_per_s": 0.6})


async def test_a_camera_has_limits_of_its_own_and_leaves_its_tenant_the_rest(
    store: StateStore, tenant: str
) -> None:
    quotas, gate = Quotas(store.tenants, FEW), Holder(tenant, uuid.uuid4().hex, OWN)
    await quotas.take(gate, segment())
    for _ in range(5):
        with pytest.raises(QuotaExceeded, match=r"This camera may use 0\.02 segments a second") as refusal:
            await quotas.take(gate, segment())
    assert refusal.value.retry_after_s == pytest.approx(50, abs=10)
    for _ in range(2):  # three in all: what was refused took nothing
        await quotas.take(Holder(tenant), segment())


async def test_what_its_tenant_cannot_pay_a_camera_does_not_pay_either(
    store: StateStore, tenant: str
) -> None:
    own, poor = Holder(tenant, uuid.uuid4().hex, OWN), LIMITS.model_copy(update={"segments_per_s": 0.02})
    await Quotas(store.tenants, poor).take(Holder(tenant), segment())
    with pytest.raises(QuotaExceeded, match="This tenant"):
        await Quotas(store.tenants, poor).take(own, segment())
    await Quotas(store.tenants, LIMITS).take(Holder(f"{tenant}-2", own.camera, own.rates), segment())


async def test_what_is_given_back_is_given_back_to_the_camera_too(store: StateStore, tenant: str) -> None:
    quotas, gate = Quotas(store.tenants, LIMITS), Holder(tenant, uuid.uuid4().hex, OWN)
    for _ in range(3):
        await quotas.take(gate, segment())
        await quotas.give_back(gate, segment())


async def test_new_limits_are_in_force_within_ten_seconds(store: StateStore, tenant: str) -> None:
    now = [0.0]
    quotas = Quotas(store.tenants, LIMITS, clock=lambda: now[0])
    assert (await quotas.limits(tenant)).cameras == 5
    await store.tenants.set_limits(tenant, LimitsPatch(cameras=9), "operator")
    assert (await quotas.limits(tenant)).cameras == 5
    now[0] = CACHE_S
    assert (await quotas.limits(tenant)).cameras == 9


async def test_while_redis_is_away_a_bucket_of_its_own_holds_the_last_known_limits(
    store: StateStore, tenant: str
) -> None:
    await store.tenants.set_limits(tenant, LimitsPatch(segments_per_s=1), "operator")
    now = [0.0]
    away = StateStore("redis://127.0.0.1:1", answers_kept=8, lease_s=1)
    quotas = Quotas(store.tenants, LIMITS, clock=lambda: now[0])
    await quotas.limits(tenant)
    quotas._tenants = away.tenants
    for _ in range(5):
        await quotas.take(Holder(tenant), segment())
    with pytest.raises(QuotaExceeded) as refusal:
        await quotas.take(Holder(tenant), segment())
    assert refusal.value.retry_after_s == 1.0
    now[0] = 1.0
    await quotas.take(Holder(tenant), segment())
    await away.close()
