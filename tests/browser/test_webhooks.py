"""The page of webhooks: a test, a replay, and a webhook that is disabled and enabled again."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.state import ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service


def no_client_submits_it(page: Page) -> None:
    """The service alone makes deliveries: nothing on the page offers to send one's payload."""
    verbs = re.compile("^(Duplicate|Edit and retry|Copy as curl|Submit a task)$")
    expect(page.get_by_role("button", name=verbs)).to_have_count(0)


def test_a_webhook_is_tested_replayed_disabled_and_enabled(
    window: Window, service: Service
) -> None:
    ended(service, submitted(service, "charge", {"customer": 1}))
    # No name ends so (RFC 2606), so each delivery waits for another attempt.
    body = {"url": "https://shop.invalid/finished", "events": ["success"], "types": ["charge"]}
    assert service.client.put("/webhooks/orders", json=body).status_code == 201
    page = window.open("webhooks")
    row = page.get_by_role("table", name="Webhooks").get_by_role("row").filter(has_text="orders")
    notices = page.get_by_role("status", name="Notices")
    expect(row).to_contain_text("https://shop.invalid/finished")
    expect(row).to_contain_text("success · charge")

    row.get_by_role("button", name="Replay orders").click()
    dialog = page.get_by_role("dialog", name="Replay orders")
    dialog.get_by_label("Finished since").fill("2100-01-01T00:00")
    dialog.get_by_role("button", name="Replay").click()
    expect(notices).to_contain_text("orders is told of 0 of 0 tasks")
    row.get_by_role("button", name="Replay orders").click()
    assert window.violations() == []
    dialog.get_by_role("button", name="Replay").click()
    expect(notices).to_contain_text("orders is told of 1 of 1 task")

    row.get_by_role("button", name="Test orders").click()
    expect(page.get_by_role("heading", name="webhook", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    no_client_submits_it(page)
    page.get_by_label("Facts").get_by_role("link", name="webhook=orders").click()
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr")).to_have_count(2)

    page.get_by_role("link", name="Webhooks").click()
    row.get_by_role("link", name="Deliveries of orders").click()
    expect(page).to_have_url(re.compile(r"label=webhook%3Dorders"))
    page.go_back()
    row.get_by_role("button", name="Disable orders").click()
    page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("disabled by hand")
    expect(row.get_by_role("button", name="Test orders")).to_have_count(0)
    row.get_by_role("button", name="Enable orders").click()
    expect(row).to_contain_text("Enabled")
    assert service.get("/webhooks/orders").json()["state"] == "enabled"


def test_no_form_offers_deliveries(window: Window, service: Service) -> None:
    page = window.open("types/webhook")
    expect(page.get_by_role("button", name="Pause type")).to_be_visible()
    no_client_submits_it(page)
    for path, opener in (("tasks", "Submit a task"), ("schedules", "New schedule")):
        page = window.open(path)
        page.get_by_role("button", name=opener).first.click()
        types = page.get_by_role("dialog").get_by_label("Type")
        expect(types.locator("option", has_text="charge")).to_have_count(1)
        expect(types.locator("option", has_text="webhook")).to_have_count(0)


BRIEF_LIMITS = """() => {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (milliseconds) => timeout(milliseconds / 100);
}"""
PASSED = """() => new Promise((resolve) => {
    AbortSignal.timeout(20_000).addEventListener("abort", resolve);
})"""


def test_a_replay_that_takes_long_is_no_outage(window: Window, service: Service) -> None:
    body = {"url": "https://shop.invalid/slow", "types": ["export"]}
    assert service.client.put("/webhooks/slow", json=body).status_code == 201
    page = window.open("webhooks")
    page.evaluate(BRIEF_LIMITS)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/webhooks/slow/replay", hold)
    page.get_by_role("button", name="Replay slow").click()
    dialog = page.get_by_role("dialog", name="Replay slow")
    dialog.get_by_role("button", name="Replay").click()
    page.evaluate(PASSED)
    expect(dialog.get_by_role("button", name="Replaying…")).to_be_disabled()
    expect(dialog.get_by_role("status")).to_contain_text("take a while")
    assert window.violations() == []
    expect(page.get_by_role("status").filter(has_text="Offline.")).to_have_count(0)

    dialog.get_by_role("button", name="Leave it").click()
    page.get_by_role("button", name="Replay slow").click()
    held[0].continue_()
    expect(page.get_by_role("status", name="Notices")).to_contain_text("slow is told of 0 of 0")
    expect(dialog.get_by_role("button", name="Replay")).to_be_enabled()
