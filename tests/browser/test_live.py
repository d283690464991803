"""Windows while the service dies, comes back, and is seen through a proxy's prefix."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.proxy import PREFIX, prefixed
from tests.browser.state import ended, submitted
from tests.browser.window import SECONDS, Window
from tests.integration.conftest import Service, wait_for

STREAMS = 4
"""Windows of a browser that have a stream at a time."""


@pytest.fixture(autouse=True)
def ready(service: Service) -> None:
    """A test may have failed before it brought the service back."""
    assert service.master is not None
    if service.master.poll() is None:
        wait_for(service.is_ready, "the service is back")
    else:
        service.start()


def dot_says(page: Page, word: str, seconds: float = SECONDS) -> None:
    expect(page.locator(".live")).to_contain_text(word, timeout=seconds * 1_000)


def count_of(page: Page, state: str) -> int:
    """The number on a tile of the overview."""
    return int(page.locator(f".tile[data-state={state}] b").inner_text().replace(",", ""))


def shows(page: Page, state: str, count: int) -> None:
    tile = page.locator(f".tile[data-state={state}] b")
    expect(tile).to_have_text(str(count))


@pytest.mark.parametrize("victim", ["registry", "worker"])
def test_a_death_is_told_and_nothing_of_it_is_missed(
    window: Window, service: Service, victim: str
) -> None:
    window.outages_are_meant = True
    page = window.open()
    dot_says(page, "Live")
    before = count_of(page, "success")
    pid = service.registry_pid() if victim == "registry" else service.worker_pids()[0]
    os.kill(pid, signal.SIGKILL)
    wait_for(service.is_ready, "the service is back")
    for n in range(3):
        ended(service, submitted(service, "charge", {"customer": n + 1}))
    shows(page, "success", before + 3)
    dot_says(page, "Live")
    assert page.locator(".banner").count() == 0


def test_without_a_service_the_last_data_stay_greyed_until_it_is_back(
    window: Window, service: Service
) -> None:
    ended(service, submitted(service, "charge", {"customer": 1}))
    window.outages_are_meant = True
    page = window.open("tasks")
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    count = rows.count()
    service.kill_everything()
    dot_says(page, "Offline since")
    banner = page.get_by_role("status").filter(has_text="Offline.")
    expect(banner).to_contain_text(re.compile(r"What you see is .+ old.*Retrying in \d+ s"))
    expect(page.locator(".stale")).to_be_visible()
    expect(rows).to_have_count(count)
    assert window.violations() == []
    service.start()
    expect(banner).to_have_count(0)
    expect(page.locator(".stale")).to_have_count(0)
    dot_says(page, "Live")


def test_a_frozen_window_has_no_stream_and_catches_up(window: Window, service: Service) -> None:
    page = window.open()
    dot_says(page, "Live")
    before = count_of(page, "success")
    streams: list[str] = []
    page.on("request", lambda r: streams.append(r.url) if "/stats/events" in r.url else None)
    # The browser's own freezing needs a window that is hidden, which no window of the driver is.
    with page.expect_event("requestfailed", lambda request: "/stats/events" in request.url):
        page.evaluate("() => document.dispatchEvent(new Event('freeze'))")
    for n in range(3):
        ended(service, submitted(service, "charge", {"customer": n + 1}))
    assert count_of(page, "success") == before
    assert streams == []
    page.evaluate("() => document.dispatchEvent(new Event('resume'))")
    shows(page, "success", before + 3)
    dot_says(page, "Live")
    assert len(streams) == 1


def test_a_window_that_was_stopped_shows_what_happened_meanwhile(
    window: Window, service: Service
) -> None:
    page = window.open()
    dot_says(page, "Live")
    before = count_of(page, "success")
    renderers = renderers_of(window)
    for pid in renderers:
        os.kill(pid, signal.SIGSTOP)
    try:
        for n in range(30):
            ended(service, submitted(service, "charge", {"customer": n + 1}))
    finally:
        for pid in renderers:
            os.kill(pid, signal.SIGCONT)
    shows(page, "success", before + 30)
    dot_says(page, "Live")


def renderers_of(window: Window) -> list[int]:
    """The processes that draw the windows."""
    assert window.context.browser is not None
    browser = window.context.browser.new_browser_cdp_session()
    found = browser.send("SystemInfo.getProcessInfo")["processInfo"]
    return [each["id"] for each in found if each["type"] == "renderer"]


def test_seven_windows_of_one_browser_all_answer(window: Window, service: Service) -> None:
    pages = [window.open()]
    for _ in range(6):
        other = Window(window.context, window.url)
        pages.append(other.open())
        window.faults.extend(other.faults)
    live = [page for page in pages if "Live" in page.locator(".live").inner_text()]
    wait_for(lambda: states(pages).count("live") >= STREAMS, f"{STREAMS} windows have streams")
    assert len(live) <= STREAMS
    before = count_of(pages[0], "success")
    ended(service, submitted(service, "charge", {"customer": 1}))
    for page in pages:
        shows(page, "success", before + 1)
        page.get_by_role("link", name=re.compile("^Workers")).click()
        expect(page.get_by_role("heading", name="Workers")).to_be_visible()


def states(pages: list[Page]) -> list[str | None]:
    return [page.locator(".live").get_attribute("data-live") for page in pages]


@pytest.fixture
def proxied(new_window: Callable[..., Window], service: Service) -> Iterator[Window]:
    with prefixed(service.address) as url:
        window = new_window(viewport={"width": 1280, "height": 900})
        window.url = url
        yield window
        # Or it would ask for what is gone.
        window.page.close()


def test_under_a_prefix_that_a_proxy_takes_off_everything_works(
    proxied: Window, service: Service
) -> None:
    failed = submitted(service, "charge", {"customer": 1, "card": "declined"})
    ended(service, failed)
    page = proxied.open()
    dot_says(page, "Live")
    page.get_by_role("link", name=re.compile("^Tasks")).click()
    expect(page).to_have_url(re.compile(rf"{PREFIX}/dashboard/tasks$"))
    page.get_by_role("link", name=failed[:8]).click()
    expect(page).to_have_url(re.compile(rf"{PREFIX}/dashboard/tasks/{failed}$"))
    page.reload()
    expect(page.get_by_role("region", name="Error")).to_contain_text("is declined")
    dot_says(page, "Live")


def test_files_of_another_version_have_the_page_reloaded(window: Window) -> None:
    def gone(route: Route) -> None:
        route.fulfill(status=404, body="")

    window.outages_are_meant = True
    page = window.open()
    window.context.route(re.compile(r"/assets/.*/pages/activity\.js"), gone)
    page.get_by_role("link", name="Activity").click()
    expect(page.locator("main")).to_contain_text("The service was upgraded")
    window.context.unroute_all()
    page.get_by_role("button", name="Reload").click()
    expect(page.get_by_role("heading", name="Activity", level=1)).to_be_visible()


def test_a_paused_window_stands_still_until_it_is_resumed(window: Window, service: Service) -> None:
    page = window.open()
    dot_says(page, "Live")
    page.keyboard.press(".")
    dot_says(page, "Paused")
    # Tasks of former tests may end all the while.
    before = count_of(page, "success")
    ended(service, submitted(service, "charge", {"customer": 1}))
    now = service.client.get("/stats").json()["tasks"]["success"]
    assert count_of(page, "success") == before < now
    page.keyboard.press(".")
    shows(page, "success", now)


def test_new_tasks_are_counted_and_move_no_row(window: Window, service: Service) -> None:
    ended(service, submitted(service, "charge", {"customer": 1}))
    page = window.open("tasks?type=charge")
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    first = rows.first.get_attribute("data-key")
    for n in range(2):
        submitted(service, "charge", {"customer": n + 1})
    news = page.get_by_role("button", name="2 new · show")
    expect(news).to_be_visible()
    expect(rows.first).to_have_attribute("data-key", str(first))
    news.click()
    expect(rows.nth(2)).to_have_attribute("data-key", str(first))
