"""The dashboard of a service with keys: logging in and out, and what each key sees of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from afterwards.access.tokens import new_token
from afterwards.dashboard.shell import PAGES
from tests.browser.serving import serving
from tests.browser.state import ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service

DESKTOP: Final = {"width": 1280, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
ROOT: Final = new_token().text


@pytest.fixture(scope="module")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for keys, with two workers; its own client is an administrator."""
    with serving(tmp_path_factory.mktemp("service"), ROOT, workers="2") as running:
        yield running


@pytest.fixture(scope="module")
def failed(service: Service) -> str:
    """The id of a failed task; there is a webhook, too."""
    task_id = submitted(service, "charge", {"customer": 2, "card": "declined"})
    assert ended(service, task_id) == "failed"
    body = {"url": "https://orders.example", "types": ["report"]}
    assert service.client.put("/webhooks/orders", json=body).status_code == 201
    assert service.post("/webhooks/orders/disable").is_success
    return task_id


@pytest.fixture
def window(window: Window) -> Window:
    """A window in which requests may be refused."""
    window.outages_are_meant = True
    return window


def key(service: Service, name: str, role: str, **more: Any) -> dict[str, Any]:
    """A new key, with its token."""
    answer = service.post("/keys", {"name": name, "role": role, "payloads": True, **more})
    assert answer.status_code == 201, answer.text
    issued: dict[str, Any] = answer.json()
    return issued


def asks_for_a_key(page: Page) -> None:
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_label("Key")).to_be_focused()


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Key").fill(token)
    page.get_by_role("button", name="Log in").click()


def logged_in(window: Window, token: str, path: str = "") -> Page:
    window.page.goto(f"{window.url}/dashboard/{path}")
    asks_for_a_key(window.page)
    log_in(window.page, token)
    expect(window.page.get_by_role("navigation", name="Pages")).to_be_visible()
    window.settle()
    return window.page


def pictured(page: Page, name: str) -> None:
    """Take a picture for a person to look at, if a folder for it is named."""
    folder = os.environ.get("PICTURES_OF_LOGIN")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_login_leads_to_where_one_wanted_to_be_and_a_logout_ends_it(
    window: Window, service: Service, failed: str
) -> None:
    page = logged_in(window, ROOT, "tasks?status=failed&type=charge")
    assert page.url.endswith("/dashboard/tasks?status=failed&type=charge")
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr")).not_to_have_count(0)
    expect(page.locator(".live")).to_have_attribute("data-live", "live")
    pictured(page, "tasks")

    page.get_by_role("button", name="Account: first, admin").click()
    account = page.get_by_role("dialog", name="Account")
    expect(account).to_contain_text("Does anything")
    assert window.violations() == []
    pictured(page, "account")
    account.get_by_role("button", name="Log out").click()
    asks_for_a_key(page)
    assert window.context.cookies() == []
    page.reload()
    asks_for_a_key(page)


def test_no_script_reads_the_cookie_and_nothing_keeps_the_token(
    window: Window, service: Service
) -> None:
    page = logged_in(window, ROOT)
    [cookie] = window.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    kept = page.evaluate("() => document.cookie + JSON.stringify([localStorage, sessionStorage])")
    assert cookie["value"] not in kept
    assert "aw_" not in kept
    assert "aw_" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_login_says_what_is_wrong_and_fits(
    new_window: Callable[..., Window], service: Service, size: Any, scheme: str
) -> None:
    window = new_window(viewport=size, color_scheme=scheme)
    window.outages_are_meant = True
    page = window.page
    page.goto(f"{window.url}/dashboard/")
    asks_for_a_key(page)
    assert window.violations() == []
    pictured(page, f"login-{scheme}-{size['width']}")
    field = page.get_by_label("Key")
    assert field.get_attribute("autocomplete") == "current-password"
    page.keyboard.type("   ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Enter a key.")
    log_in(page, "aw_wrong")
    expect(page.get_by_role("alert")).to_have_text("This key is unknown, expired or revoked.")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    assert window.violations() == []
    assert window.overhang() <= 0
    pictured(page, f"wrong-{scheme}-{size['width']}")
    log_in(page, ROOT)
    expect(page.get_by_role("button", name="Account")).to_be_visible()
    window.settle()
    assert window.overhang() <= 0
    assert window.violations() == []
    pictured(page, f"overview-{scheme}-{size['width']}")


def test_a_key_that_is_revoked_meanwhile_leaves_a_notice_and_no_broken_page(
    window: Window, service: Service, failed: str
) -> None:
    brief = key(service, "brief", "operator")
    page = logged_in(window, brief["token"], f"tasks/{failed}")
    assert service.client.delete(f"/keys/{brief['id']}").status_code == 204
    asks_for_a_key(page)
    expect(page.get_by_role("status")).to_contain_text("The session has ended")
    assert window.violations() == []
    pictured(page, "ended")
    log_in(page, brief["token"])
    expect(page.get_by_role("alert")).to_contain_text("unknown, expired or revoked")
    log_in(page, ROOT)
    expect(page.get_by_role("heading", name="charge", level=1)).to_be_visible()


def test_another_window_that_logs_out_ends_the_session_in_all(
    window: Window, service: Service
) -> None:
    page = logged_in(window, ROOT, "workers")
    other = window.context.new_page()
    other.goto(f"{window.url}/dashboard/")
    other.get_by_role("button", name="Account").click()
    other.get_by_role("button", name="Log out").click()
    asks_for_a_key(page)
    expect(page.get_by_role("status")).to_contain_text("The session has ended")


def test_a_viewer_looks_and_is_offered_no_verb(
    window: Window, service: Service, failed: str
) -> None:
    eyes = key(service, "eyes", "viewer", payloads=False)
    page = logged_in(window, eyes["token"], f"tasks/{failed}")
    assert "declined" not in page.locator("main").inner_text()
    expect(page.get_by_text("Payloads are hidden from this key.")).to_be_visible()
    assert window.violations() == []
    pictured(page, "viewer-task")
    verbs = re.compile(r"^(Retry|Cancel|Run|Delete|Pause|Resume|Submit|Edit|New|Duplicate)\b")
    for path in PAGES:
        name = {"tasks/": failed, "types/": "charge"}.get(path, "")
        window.open(path + name)
        expect(page.get_by_role("button", name="Account: eyes, viewer")).to_be_visible()
        expect(page.get_by_role("button", name=verbs)).to_have_count(0)
    window.open("tasks")
    expect(page.get_by_role("table", name="Tasks")).to_contain_text("hidden")


def test_a_viewer_is_led_to_no_webhooks(window: Window, service: Service, failed: str) -> None:
    links = window.page.get_by_role("navigation", name="Pages").get_by_role("link")
    for role, number in (("viewer", 0), ("submitter", 0), ("operator", 1)):
        token = key(service, f"{role} of pages", role)["token"]
        page = logged_in(window, token, "activity")
        expect(links.filter(has_text="Webhooks")).to_have_count(number)
        expect(links.filter(has_text="Schedules")).to_have_count(1)
        table = page.get_by_role("table", name="Activity")
        expect(table.get_by_text("orders").first).to_be_visible()
        expect(table.get_by_role("link", name="orders")).to_have_count(2 * number)
        page.keyboard.press("?")
        help_on_keys = page.get_by_role("dialog", name="Shortcuts")
        expect(help_on_keys.get_by_text("Schedules")).to_be_visible()
        expect(help_on_keys.get_by_text("Webhooks")).to_have_count(number)
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.keyboard.press("h")
        page.keyboard.press("?")
        expect(help_on_keys).to_be_visible()
        assert page.url.endswith("webhooks") == bool(number)
        window.context.clear_cookies()


def test_administrators_see_keys_and_addresses_in_the_activity_and_others_do_not(
    window: Window, service: Service, new_window: Callable[..., Window]
) -> None:
    page = logged_in(window, ROOT, "activity")
    table = page.get_by_role("table", name="Activity")
    expect(table).to_contain_text("127.0.0.1")
    expect(table).to_contain_text(ROOT.split("_")[1])
    expect(table.locator("tbody tr").first).to_contain_text("session")
    assert window.violations() == []
    pictured(page, "audit")
    looks = key(service, "looks", "operator")
    other = new_window(viewport=PHONE)
    other.outages_are_meant = True
    page = logged_in(other, looks["token"], "activity")
    expect(page.get_by_role("table", name="Activity")).to_contain_text("first")
    expect(page.get_by_role("table", name="Activity")).not_to_contain_text("127.0.0.1")
    assert other.overhang() <= 0
    pictured(page, "activity-phone")
