"""What one replica holds of each bundle: loaded beside what is in force, and dropped when nobody needs it.

A thread of its own looks at the plan every second, loads and drops, and says what is held. Requests only look
into a dictionary: no segment waits for the database here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from clients.rollout import SHIPPED, Holder, Plan, StoredBundle
from clients.signature import check_signature
from configs.bundle import MANIFEST, Bundle, BundleError, locked
from configs.settings import Settings
from serving.bundles.archive import unpack
from serving.problems import StateUnavailable
from serving.state.bundles import BundleStore
from serving.state.embedded import database_url
from serving.state.store import StateStore

LOOK_S = 1.0
START_S = 15.0
"""So long a replica that starts waits for the database to say what is in force."""
GRACE_S = 3.0
"""So long a bundle is still held that the plan does not name any more: by then no ingress replica does."""
AGAIN_S = 30.0
"""What could not be loaded is tried again after so long."""

logger = logging.getLogger("ray.serve")

Held = TypeVar("Held")


class BundleHolder(Generic[Held]):
    """`load` makes of a bundle what a replica works with; it runs in another thread than requests do."""

    def __init__(
        self, role: str, shipped: Bundle, settings: Settings, load: Callable[[Bundle], Held]
    ) -> None:
        self._role, self.shipped, self._settings, self._load = role, shipped, settings, load
        self._name = f"{role}/{secrets.token_urlsafe(6)}"
        self._held: dict[str, Held] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._unwanted_since: dict[str, float] = {}
        self._begun, self._stop = threading.Event(), threading.Event()
        self.plan, self.key = Plan(), ""

    def start(self) -> None:
        """Loads what the plan wants, or what the application ships with where no plan is to be had, and
        follows from then on. Raises what loading the shipped bundle raises."""
        threading.Thread(target=lambda: asyncio.run(self._follow()), name="bundles", daemon=True).start()
        self._begun.wait()
        if not self._held:
            self.hold_shipped()

    def hold_shipped(self) -> None:
        """Loads the bundle that the application ships with."""
        self._held[self.shipped.id] = self._load(self.shipped)

    def stop(self) -> None:
        self._stop.set()

    def get(self, bundle: str) -> Held | None:
        """What is held of a bundle."""
        return self._held.get(bundle)

    @property
    def held(self) -> tuple[str, ...]:
        return tuple(self._held)

    def resolve(self, bundle: str) -> str:
        """A bundle's id, where the plan speaks of the one that ships."""
        return self.shipped.id if bundle == SHIPPED else bundle

    @property
    def wanted(self) -> tuple[str, ...]:
        """Ids of the bundles that the plan has replicas hold."""
        return tuple(dict.fromkeys(map(self.resolve, self.plan.wanted(self._settings.bundles_held))))

    async def _follow(self) -> None:
        store = StateStore.of(self._settings, database_url(self._settings))
        began, loading = time.monotonic(), None
        try:
            while not self._stop.is_set():
                try:
                    self.key = self.key or (await store.bundles.key()).public
                    self.plan = await store.bundles.plan()
                    if loading is None or loading.done():
                        loading = asyncio.create_task(self._hold(store.bundles, self.wanted))
                        if not self._begun.is_set():
                            await loading
                    await store.bundles.tell(self._name, self.standing())
                    self._begun.set()
                except StateUnavailable:
                    if time.monotonic() - began > START_S:
                        self._begun.set()
                except Exception:
                    logger.exception("Bundles cannot be followed.")
                    self._begun.set()
                await asyncio.sleep(LOOK_S)
            with suppress(StateUnavailable):
                await store.bundles.forget_holder(self._name)
        finally:
            await store.close()

    def standing(self) -> Holder:
        """What this replica says of itself."""
        failed = {bundle: reason for bundle, (reason, _) in self._failed.items()}
        return Holder(role=self._role, shipped=self.shipped.id, held=self.held, failed=failed)

    async def _hold(self, store: BundleStore, wanted: tuple[str, ...]) -> None:
        """Drops what is not wanted any more, then loads what is missing: never more than is wanted."""
        now = time.monotonic()
        self._unwanted_since = {
            bundle: self._unwanted_since.get(bundle, now) for bundle in self._held if bundle not in wanted
        }
        # What is held in place of something that cannot be loaded stays: better than nothing.
        usable = any(bundle in self._held for bundle in wanted)
        for bundle, since in self._unwanted_since.items():
            if usable and now - since >= GRACE_S:
                self._held.pop(bundle, None)
                logger.info("Bundle %s is held no longer.", bundle)
        self._failed = {
            bundle: (reason, at)
            for bundle, (reason, at) in self._failed.items()
            if bundle in wanted and now - at < AGAIN_S
        }
        for bundle in wanted:
            if len(self._held) >= self._settings.bundles_held:
                return
            if bundle not in self._held and bundle not in self._failed:
                await self._add(store, bundle)

    async def _add(self, store: BundleStore, bundle: str) -> None:
        began = time.monotonic()
        try:
            found = self.shipped if bundle == self.shipped.id else await self._copy(store, bundle)
            self._held[bundle] = await asyncio.to_thread(self._load, found)
        except StateUnavailable:
            raise
        except Exception as error:  # a bundle that breaks any loader must not end what runs
            logger.exception("Bundle %s cannot be loaded.", bundle)
            self._failed[bundle] = (str(error)[:500] or type(error).__name__, time.monotonic())
        else:
            logger.info("Bundle %s is held, loaded in %.1f s.", bundle, time.monotonic() - began)

    async def _copy(self, store: BundleStore, bundle: str) -> Bundle:
        """The bundle in this machine's folder, unpacked if it is not there, and verified by this process.
        Raises `BundleError`."""
        stored = await store.find(bundle)
        if stored is None:
            raise BundleError(f"{bundle} is not in the store: push it again")
        folder = self._settings.state_directory / "bundles" / bundle
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One process of this machine unpacks; the others find what it unpacked.
        with await asyncio.to_thread(locked, folder):
            _forget_copies(folder.parent, {item.id for item in await store.stored()})
            with suppress(BundleError):  # not there yet, or not what it was
                return await asyncio.to_thread(_verified, folder, stored, self.key)
            await asyncio.to_thread(unpack, await store.archive(stored), folder)
            return await asyncio.to_thread(_verified, folder, stored, self.key)


def _verified(folder: Path, stored: StoredBundle, key: str) -> Bundle:
    """The bundle in a folder, if it is the stored one to the last byte. Raises `BundleError`."""
    bundle = Bundle.load(folder)
    check_signature(key, bundle.path(MANIFEST).read_bytes(), stored.signature)
    if bundle.id != stored.id:
        raise BundleError(f"the store holds {bundle.id} as {stored.id}: remove it and push it again")
    return bundle


def _forget_copies(directory: Path, stored: set[str]) -> None:
    """Copies of what is not in the store any more."""
    for path in directory.glob(f"*/{MANIFEST}"):
        if path.parent.name not in stored:
            shutil.rmtree(path.parent, ignore_errors=True)
