"""The page of webhooks: a test, a replay, and a webhook that is disabled and enabled again."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.state import ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service


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
