"""The page at `/` in a real Chromium, before a real application with four cameras that stream."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from clients.camera import Camera
from clients.source import VideoSource
from load_tests.application import RunningApplication

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium, which is not installed (apt-get install chromium)"
)
NAMES = ("gate-north", "gate-south", "ring-road", "yard")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
WITHIN_S = 1.0
PAINTED_WITHIN_S = 60.0
OPAQUE_COLOURS = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] === 255)
        found.add("#" + [0, 1, 2].map(k => data[i + k].toString(16).padStart(2, "0")).join(""));
    return [...found]; }"""
"""None as long as nothing is painted."""
expect.set_options(timeout=30_000)


@dataclass
class Streaming:
    """Cameras that stream a generated street each, and the ids that they have."""

    key: str
    ids: dict[str, str]


@pytest.fixture(scope="module")
def streaming(application: RunningApplication) -> Iterator[Streaming]:
    cameras = [
        Camera(
            # slow enough that no machine is under pressure, which would leave label maps out
            VideoSource(f"demo:{seed}", seconds=2, fps=1, box=(320, 180)),
            key=application.key,
            server=application.url,
            name=name,
            policy="fixed:89",
        )
        for seed, name in enumerate(NAMES)
    ]
    for camera in cameras:
        camera.open()
    threads = [threading.Thread(target=lambda camera=camera: list(camera.run())) for camera in cameras]
    for thread in threads:
        thread.start()
    while any(camera.server.status().segments == 0 for camera in cameras):
        time.sleep(0.1)
    yield Streaming(application.key, {camera.name: camera.server.registered.id for camera in cameras})
    for camera, thread in zip(cameras, threads, strict=True):
        camera.stop()
        thread.join()
        camera.server.delete()
        camera.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESK)
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, application: RunningApplication) -> Iterator[Page]:
    """A page whose every console error and exception fails the test."""
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(_told(message)))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(application.url)
    yield page
    assert [line for line in said if line] == []


def _told(message: ConsoleMessage) -> str:
    of_the_test = message.text.startswith("Canvas2D: Multiple readback")  # `OPAQUE_COLOURS`, asked often
    return message.text if message.type in ("error", "warning") and not of_the_test else ""


@pytest.fixture
def grid(page: Page, streaming: Streaming) -> Page:
    sign_in(page, streaming.key)
    for name in NAMES:
        expect(card(page, name)).to_contain_text(re.compile(r"segment \d+"))
    return page


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("Key of the tenant").fill(key)
    page.get_by_role("button", name="Sign in").click()


def card(page: Page, name: str) -> Locator:
    return page.locator(f'.card[data-camera="{name}"]')


def shown(page: Page, name: str) -> int:
    found = re.search(r"segment (\d+)", card(page, name).inner_text())
    return int(found[1]) if found else -1


def faults(page: Page) -> list[str]:
    """What axe finds that would keep people out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']} ({one['nodes'][0]['html'][:100]})"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_a_wrong_key_opens_nothing_and_says_why(
    context: BrowserContext, application: RunningApplication
) -> None:
    page = context.new_page()
    page.goto(application.url)
    for key in ("nonsense", f"{'x' * 12}.{'y' * 43}"):
        sign_in(page, key)
        expect(page.get_by_role("alert")).to_contain_text(re.compile("key|Bearer"))
        expect(page.get_by_label("Key of the tenant")).to_be_visible()
    assert page.evaluate("sessionStorage.length + localStorage.length") == 0


def test_four_cameras_are_seen_within_a_second_of_their_segments(
    grid: Page, application: RunningApplication, streaming: Streaming
) -> None:
    own = {"Authorization": f"Bearer {streaming.key}"}
    for name, camera in streaming.ids.items():
        for _ in range(2):
            before = httpx.get(f"{application.url}/v1/clients/{camera}", headers=own).json()["next_seq"] - 1
            while (
                newest := httpx.get(f"{application.url}/v1/clients/{camera}", headers=own).json()["next_seq"]
                - 1
            ) == before:
                time.sleep(0.02)
            committed = time.monotonic()
            while shown(grid, name) < newest:
                assert time.monotonic() - committed < WITHIN_S
                time.sleep(0.02)


def test_a_label_map_is_painted_in_the_classes_colours(grid: Page, application: RunningApplication) -> None:
    canvas = card(grid, NAMES[0]).locator(".mask canvas")
    canvas.scroll_into_view_if_needed()  # the tenant has more cameras, and what nobody sees is not painted
    deadline = time.monotonic() + PAINTED_WITHIN_S
    while not (colours := canvas.evaluate(OPAQUE_COLOURS)):
        assert time.monotonic() < deadline, f"no label map is shown: {card(grid, NAMES[0]).inner_text()}"
        time.sleep(0.1)
    held = httpx.get(
        f"{application.url}/v1/live", headers={"Authorization": f"Bearer {application.key}"}
    ).json()
    assert 1 < len(colours) <= len(held["colours"])
    assert set(colours) <= set(held["colours"])


def test_a_target_that_is_changed_is_followed(grid: Page) -> None:
    card(grid, "yard").click()
    expect(grid.get_by_role("heading", name="yard")).to_be_visible()
    for target in ("0.50", "0.70"):
        grid.get_by_label("Target mIoU").fill(target)
        grid.get_by_role("button", name="Change").click()
        expect(grid.get_by_role("status")).to_contain_text(f"The target is {target}")
        expect(grid.locator(".figures")).to_contain_text(f"/ {target}")
    assert grid.locator(".chart canvas").count() == 3


def test_all_is_reached_by_the_keyboard(page: Page, streaming: Streaming) -> None:
    page.keyboard.press("Tab")
    page.keyboard.type(streaming.key)
    page.keyboard.press("Enter")
    expect(card(page, NAMES[0])).to_be_visible()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "skip":
            break
    expect(page.get_by_text("To the cameras")).to_be_focused()
    page.keyboard.press("Enter")
    assert "card" in page.evaluate("document.activeElement.className")
    name = page.evaluate("document.activeElement.dataset.camera")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "target":
            break
    page.keyboard.press("Control+A")
    page.keyboard.type("0.55")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The target is 0.55")


def test_it_fits_a_phone(grid: Page) -> None:
    grid.set_viewport_size(PHONE)
    for address in ("#/", "#/connect"):
        grid.evaluate(f"location.hash = '{address}'")
        expect(grid.locator("main")).to_be_visible()
        assert grid.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    grid.evaluate("location.hash = '#/'")
    card(grid, NAMES[0]).click()
    expect(grid.locator(".chart canvas").first).to_be_visible()
    assert grid.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_access_is_found_in_light_or_dark(
    page: Page, streaming: Streaming, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    assert faults(page) == []
    sign_in(page, streaming.key)
    expect(card(page, NAMES[0])).to_contain_text(re.compile(r"segment \d+"))
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)"
    assert light == (scheme == "light")
    assert faults(page) == []
    card(page, NAMES[0]).click()
    expect(page.locator(".chart canvas").first).to_be_visible()
    assert faults(page) == []
    page.get_by_role("link", name="Connect a camera").click()
    page.get_by_role("button", name="Show key and QR code").click()
    assert faults(page) == []


def test_connecting_shows_the_command_and_its_code_only_when_asked(grid: Page, streaming: Streaming) -> None:
    grid.get_by_role("link", name="Connect a camera").click()
    secret = streaming.key.partition(".")[2]
    expect(grid.locator(".command")).not_to_contain_text(secret)
    grid.get_by_label("Name").fill("it's new")
    grid.get_by_role("button", name="Show key and QR code").click()
    expect(grid.locator(".command")).to_contain_text(secret)
    expect(grid.locator(".command")).to_contain_text(r"--name 'it'\''s new'")
    assert grid.locator(".qr").evaluate("image => image.naturalWidth") > 0


def test_the_key_stays_in_this_tab(grid: Page, streaming: Streaming) -> None:
    secret = streaming.key.partition(".")[2]
    assert secret not in grid.url
    assert grid.evaluate("localStorage.length") == 0
    assert grid.evaluate("document.cookie") == ""
    grid.reload()
    expect(card(grid, NAMES[0])).to_be_visible()
    grid.get_by_role("button", name="Sign out").click()
    expect(grid.get_by_label("Key of the tenant")).to_be_visible()
    assert grid.evaluate("sessionStorage.length") == 0
