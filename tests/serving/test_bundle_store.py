"""The store of bundles in a real database, and a replica that follows it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from clients.rollout import Holder
from configs.bundle import DEFAULT_BUNDLE, Bundle
from configs.settings import Settings
from serving.bundles import holder as holding
from serving.bundles.acts import BundleActs
from serving.bundles.archive import pack
from serving.bundles.evidence import CanaryOptions
from serving.bundles.holder import BundleHolder
from serving.bundles.rollout import JUDGE, Rollout
from serving.bundles.served import ServedBundles
from serving.bundles.signing import SigningKey
from serving.problems import Invalid, NotFound, TooLarge, WrongBundle
from serving.state.embedded import EmbeddedServer
from serving.state.store import StateStore
from tests.bundles import changed_bundle

OPTIONS = CanaryOptions()


@pytest.fixture(autouse=True)
def empty(server: EmbeddedServer) -> None:
    with redis.Redis(unix_socket_path=str(server.socket)) as database:
        database.flushall()
    shutil.rmtree(server.directory.parent / "bundles", ignore_errors=True)


@pytest.fixture
def own(server: EmbeddedServer) -> Settings:
    return Settings(state_directory=server.directory.parent, redis_url=server.url)


@pytest.fixture
def acts(store: StateStore, own: Settings) -> BundleActs:
    return BundleActs(store.bundles, own, OPTIONS, "offline:tester")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    return [
        changed_bundle(tmp_path_factory.mktemp("bundles") / name, name) for name in ("one", "two", "three")
    ]


@pytest.fixture
async def replica(own: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ServedBundles]:
    """An ingress replica's bundles, following ten times as fast."""
    monkeypatch.setattr(holding, "LOOK_S", 0.1)
    monkeypatch.setattr(holding, "GRACE_S", 0.3)
    bundles = ServedBundles(Bundle.load(), own)
    await asyncio.to_thread(bundles.holder.start)
    yield bundles
    bundles.holder.stop()
    await asyncio.sleep(0.3)


async def until(true: Callable[[], bool], patience_s: float = 20.0) -> None:
    ends = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < ends
        await asyncio.sleep(0.05)


async def tell_of_others(store: StateStore, replica: ServedBundles) -> None:
    """In the name of the replicas that do not run here: they hold what this one holds."""
    for role in ("encoder", *(f"variant-{number}" for number in range(5))):
        held = Holder(role=role, shipped=replica.holder.shipped.id, held=replica.holder.held)
        await store.bundles.tell(role, held)


async def log(store: StateStore) -> list[tuple[str, str, str]]:
    found = await store.keys.log(None, "", 100)
    return [(fields["act"], fields["actor"], fields["subject"]) for _, fields in found]


async def test_a_pushed_bundle_is_stored_signed_and_logged(
    store: StateStore, acts: BundleActs, others: list[Bundle]
) -> None:
    archive = pack(others[0].directory)
    stored = await acts.push(archive)
    assert (stored.id, stored.size) == (others[0].id, len(archive))
    assert await store.bundles.archive(stored) == archive
    assert await log(store) == [("bundle.push", "offline:tester", stored.id)]
    with pytest.raises(Invalid, match="in the store already"):
        await acts.push(archive)
    await acts.remove(stored.id)
    assert await store.bundles.stored() == []
    with pytest.raises(NotFound, match="Push it first"):
        await acts.activate(stored.id)


async def test_size_and_number_are_bounded(store: StateStore, own: Settings, others: list[Bundle]) -> None:
    archive = pack(others[0].directory)
    small = own.model_copy(update={"max_bundle_bytes": len(archive) - 1})
    with pytest.raises(TooLarge, match=f"this one has {len(archive)}"):
        await BundleActs(store.bundles, small, OPTIONS, "t").push(archive)
    one = BundleActs(store.bundles, own.model_copy(update={"bundles_kept": 1}), OPTIONS, "t")
    await one.push(archive)
    with pytest.raises(Invalid, match="Remove one"):
        await one.push(pack(others[1].directory))
    with pytest.raises(Invalid, match="cannot be taken: the archive is no plain tar"):
        await one.push(b"no archive")


async def test_without_a_running_application_a_bundle_is_in_force_at_once(
    store: StateStore, acts: BundleActs, others: list[Bundle]
) -> None:
    await acts.push(pack(others[0].directory))
    assert (await acts.activate(others[0].id)).active == others[0].id
    assert (await acts.roll_back()).active == "shipped"
    with pytest.raises(Invalid, match="rollback goes back to"):
        await acts.remove(others[0].id)
    assert [act for act, _, _ in await log(store)][1:] == ["bundle.prepare", "bundle.activate"] * 2


async def test_a_replica_holds_two_and_the_third_pushes_the_oldest_out(
    store: StateStore, acts: BundleActs, others: list[Bundle], replica: ServedBundles
) -> None:
    shipped = Bundle.load().id
    assert replica.holder.held == (shipped,)
    for other in others:
        await acts.push(pack(other.directory))
    driver, most = Rollout(store.bundles, replica, OPTIONS), 0

    async def activate(bundle: str) -> None:
        nonlocal most
        plan = await acts.activate(bundle)
        assert plan.preparing is not None  # this replica has to load it first
        while replica.plan.active != bundle:
            await tell_of_others(store, replica)
            await driver.step()
            most = max(most, len(replica.holder.held))
            await asyncio.sleep(0.05)

    await activate(others[0].id)
    assert set(replica.holder.held) == {shipped, others[0].id}
    assert replica.named(shipped).id == shipped  # stragglers are still served
    await activate(others[1].id)
    assert set(replica.holder.held) == {others[0].id, others[1].id}
    assert most == 2
    with pytest.raises(WrongBundle, match=f"{others[1].id} is in force. Register again"):
        replica.named(shipped)
    assert replica.follow("camera", others[0].id) == others[1].id
    assert replica.follow("camera", others[1].id) is None


async def test_a_replica_that_starts_holds_what_is_in_force_and_not_what_ships(
    acts: BundleActs, others: list[Bundle], own: Settings
) -> None:
    await acts.push(pack(others[0].directory))
    await acts.activate(others[0].id)
    loaded: list[str] = []
    late: BundleHolder[str] = BundleHolder(
        "encoder", Bundle.load(), own, lambda bundle: loaded.append(bundle.id) or bundle.id
    )
    await asyncio.to_thread(late.start)
    assert late.get(others[0].id) == others[0].id
    assert loaded[0] == others[0].id
    late.stop()


async def test_without_a_database_a_replica_starts_with_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "START_S", 0.5)
    away = Settings(redis_url="redis://127.0.0.1:1")
    alone: BundleHolder[str] = BundleHolder("encoder", Bundle.load(), away, lambda bundle: bundle.id)
    await asyncio.to_thread(alone.start)
    assert alone.held == (Bundle.load().id,)
    alone.stop()


@pytest.mark.parametrize(("harm", "sentence"), [("a chunk", "checksum"), ("the signature", "signature")])
async def test_what_was_tampered_with_in_the_store_is_loaded_by_no_replica(
    store: StateStore,
    acts: BundleActs,
    others: list[Bundle],
    replica: ServedBundles,
    server: EmbeddedServer,
    harm: str,
    sentence: str,
) -> None:
    stored = await acts.push(pack(others[0].directory))
    await acts.activate(stored.id)
    with redis.Redis(unix_socket_path=str(server.socket)) as database:
        if harm == "a chunk":
            name = f"penance:{{registry}}:bundle:{stored.id}:2"
            chunk = bytearray(database.get(name))
            chunk[77] ^= 4
            database.set(name, bytes(chunk))
        else:
            forged = stored.model_copy(update={"signature": SigningKey.make().sign(b"another")})
            database.hset("penance:{registry}:bundles", stored.id, forged.model_dump_json())
    await until(lambda: stored.id in replica.holder.standing().failed)
    assert sentence in replica.holder.standing().failed[stored.id]
    assert stored.id not in replica.holder.held
    await asyncio.sleep(0.3)
    await Rollout(store.bundles, replica, OPTIONS).step()
    plan = await store.bundles.plan()
    assert (plan.active, plan.preparing) == ("shipped", None)
    assert (
        f"the ingress replica could not load it: {replica.holder.standing().failed[stored.id]}"
        in plan.problem
    )
    assert (await log(store))[-1][0] == "bundle.refuse"


async def test_a_copy_on_disk_that_is_another_bundle_is_unpacked_anew(
    acts: BundleActs, others: list[Bundle], own: Settings, replica: ServedBundles
) -> None:
    stored = await acts.push(pack(others[0].directory))
    copy = own.state_directory / "bundles" / stored.id
    shutil.copytree(others[1].directory, copy)
    await acts.activate(stored.id)
    await until(lambda: stored.id in replica.holder.held)
    assert Bundle.load(copy).id == stored.id


async def test_a_trial_is_judged_once_and_taken_back_with_the_figures_in_the_log(
    store: StateStore, acts: BundleActs, others: list[Bundle], replica: ServedBundles
) -> None:
    await acts.push(pack(others[0].directory))
    await acts.canary(others[0].id, 0.3)
    await until(lambda: others[0].id in replica.holder.held)
    await asyncio.sleep(0.3)  # until it has told so
    drivers = [Rollout(store.bundles, replica, OPTIONS) for _ in range(2)]
    await tell_of_others(store, replica)
    await asyncio.gather(*(driver.step() for driver in drivers))
    await until(lambda: replica.plan.canary is not None)
    assert replica.plan.canary is not None
    trial = replica.plan.canary.trial
    for _ in range(40):
        await store.bundles.record(trial, "others", 0.8, False)
        await store.bundles.record(trial, "canary", 0.1, True)
    standing = await acts.standing()
    assert standing.canary is not None
    assert (standing.canary.audited, standing.canary.others_failed) == (40, 0)
    await asyncio.gather(*(driver.step() for driver in drivers))
    await until(lambda: replica.plan.canary is None)
    acted = [(act, actor) for act, actor, _ in await log(store)]
    assert acted[-1] == ("bundle.rollback", JUDGE)
    assert acted.count(("bundle.rollback", JUDGE)) == 1
    detail = (await store.keys.log(None, "", 100))[-1][1]["detail"]
    assert "40 of 40 audited segments failed (mean mIoU 0.100), of other cameras 0 of 40" in detail


def test_the_shipped_bundle_fits_the_bounds() -> None:
    assert len(pack(DEFAULT_BUNDLE)) < Settings().max_bundle_bytes
