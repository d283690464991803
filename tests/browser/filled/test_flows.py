"""Users' tasks, from the page they begin on to what the service says of it afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from afterwards.lifecycle import Task
from afterwards.registry.process.lock import holder_of
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.requests import DeclareSchedules
from afterwards.schedules.schedule import Schedule
from tests.browser.state import ended, submitted
from tests.browser.window import Window, state_is
from tests.integration.conftest import Service, wait_for


def task_of(page: Page, service: Service) -> dict[str, Any]:
    """The task whose page is shown, as the service has it."""
    task_id = page.url.partition("/dashboard/tasks/")[2]
    task: dict[str, Any] = service.get(f"/tasks/{task_id}").json()
    return task


def fill_form(page: Page, type_name: str, **fields: str) -> None:
    """Choose a type in the form of a new task, and fill in its fields."""
    form = page.get_by_role("dialog", name="Submit a task")
    form.get_by_label("Type").select_option(type_name)
    for name, value in fields.items():
        field = form.locator(f"#field-{name}")
        if field.evaluate("(field) => field.tagName") == "SELECT":
            field.select_option(label=value)
        else:
            field.fill(value)


def test_a_task_is_submitted_by_a_form_watched_and_seen_to_end(
    window: Window, service: Service
) -> None:
    page = window.open()
    page.get_by_role("button", name="Submit a task").first.click()
    fill_form(page, "export", seconds="1.5")
    page.get_by_role("dialog").get_by_role("button", name="Submit").click()
    state_is(page, "Processing")
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    state_is(page, "Success")
    expect(page.get_by_role("region", name="Result, JSON")).to_contain_text("rows: 7")
    assert task_of(page, service)["result"] == {"rows": 7}


def test_a_task_that_fails_is_retried_with_a_corrected_payload(
    window: Window, service: Service
) -> None:
    page = window.open("tasks")
    page.get_by_role("button", name="Submit a task").first.click()
    fill_form(page, "charge", customer="11", card="declined")
    page.get_by_role("dialog").get_by_role("button", name="Submit").click()
    state_is(page, "Failed")
    error = page.get_by_role("region", name="Error")
    expect(error).to_contain_text("The card of customer 11 is declined")
    page.get_by_role("button", name="Edit and retry").click()
    dialog = page.get_by_role("dialog", name="Edit and retry")
    dialog.get_by_label("Card").select_option(label="good")
    changes = dialog.get_by_role("region", name="What changes")
    expect(changes.locator("[data-sign='-']")).to_contain_text('"card": "declined"')
    expect(changes.locator("[data-sign='+']")).to_contain_text('"card": "good"')
    dialog.get_by_role("button", name="Save and retry").click()
    state_is(page, "Success")
    assert task_of(page, service)["payload"]["card"] == "good"


def test_a_payload_that_does_not_fit_is_refused_at_its_field(window: Window) -> None:
    page = window.open("tasks")
    page.get_by_role("button", name="Submit a task").first.click()
    fill_form(page, "charge", customer="0")
    field = page.get_by_role("dialog").get_by_label("Customer")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-customer-error")).to_be_visible()


def test_two_reasons_are_retried_and_the_third_is_paused_in_five_clicks(
    window: Window, service: Service
) -> None:
    for n in range(12):
        card = "declined" if n % 3 else "expired"
        ended(service, submitted(service, "charge", {"customer": 100 + n, "card": card}))
    page = window.open()
    groups = page.get_by_role("table", name="Error groups")
    for card, count in (("declined", 8), ("expired", 4)):
        row = groups.get_by_role("row").filter(has_text=f"is {card}")
        counted = row.get_by_role("button", name="Retry the").get_attribute("aria-label")
        row.get_by_role("button", name="Retry the").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading")).to_have_text(f"Retry {count_of(counted)} tasks?")
        assert count_of(counted) >= count
        dialog.get_by_role("button", name=f"Retry {count_of(counted)} tasks").click()
        expect(page.get_by_role("status", name="Notices")).to_contain_text("retried")
    groups.get_by_role("button", name="Pause type charge").first.click()
    expect(page.get_by_role("status", name="Notices")).to_contain_text("charge is paused")
    assert service.get("/task-types/charge").json()["paused"] is True
    notice = page.get_by_role("listitem").filter(has_text="charge is paused")
    notice.get_by_role("button", name="Undo").click()
    wait_for(
        lambda: service.get("/task-types/charge").json()["paused"] is False, "charge is resumed"
    )


def count_of(label: str | None) -> int:
    """The number in `Retry the 8 tasks of this group`."""
    assert label is not None
    return int(label.split()[2].replace(",", ""))


def test_a_cancelled_task_goes_back_to_its_time(window: Window, service: Service) -> None:
    task_id = submitted(service, "export", {"seconds": 1}, delay_seconds=3_600)
    due = service.get(f"/tasks/{task_id}").json()["run_at"]
    page = window.open(f"tasks/{task_id}")
    page.get_by_role("button", name="Cancel").click()
    state_is(page, "Cancelled")
    notice = page.get_by_role("status", name="Notices")
    expect(notice).to_contain_text("was cancelled before it ran")
    notice.get_by_role("button", name="Undo").click()
    state_is(page, "Scheduled")
    assert task_of(page, service)["run_at"] == due


def test_a_schedule_is_made_said_in_words_and_run(window: Window, service: Service) -> None:
    page = window.open("schedules")
    page.get_by_role("button", name="New schedule").first.click()
    dialog = page.get_by_role("dialog", name="New schedule")
    dialog.get_by_label("Name").fill("monthly")
    dialog.get_by_label("Cron").fill("30 6 1 * *")
    expect(dialog).to_contain_text("at 06:30 on the 1st of the month")
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    dialog.get_by_label("Type").select_option("charge")
    dialog.get_by_label("Customer").fill("5")
    dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("table", name="Schedules").get_by_role("row").filter(has_text="monthly")
    expect(row).to_contain_text("at 06:30 on the 1st of the month")
    made = service.get("/schedules/monthly").json()
    assert (made["cron"], made["timezone"]) == ("30 6 1 * *", "Europe/Berlin")
    row.get_by_role("button", name="Run now: monthly").click()
    state_is(page, "Success")
    expect(page.get_by_label("Facts")).to_contain_text("monthly")


def declare(service: Service, *names: str) -> None:
    """Have these schedules declared, as a worker does after a reload."""
    holder = holder_of(service.data_dir)
    assert holder is not None
    pattern = Task("", "charge", b'{"customer":5}', "thread", created_at=0.0, run_at=0.0)
    schedules = [
        Schedule(name, pattern, "0 3 * * *", None, "UTC", False, 0.0, module="shop.nightly")
        for name in names
    ]
    registry = connect(holder.endpoint)
    assert registry.exchange(None, 0, [DeclareSchedules(1, schedules)]).answers == [None]


def test_a_declared_schedule_is_changed_in_its_code_and_deleted_once_it_is_gone(
    window: Window, service: Service
) -> None:
    declare(service, "stocktaking")
    page = window.open("schedules")
    row = page.get_by_role("table", name="Schedules").get_by_role("row").filter(has_text="stockt")
    expect(row).to_contain_text("shop.nightly")
    expect(row.get_by_role("button", name="Pause stocktaking")).to_be_visible()
    expect(row.get_by_role("button", name="Edit stocktaking")).to_have_count(0)
    expect(row.get_by_role("button", name="Delete stocktaking")).to_have_count(0)

    declare(service)
    page.reload()
    expect(row).to_contain_text("gone from shop.nightly")
    row.get_by_role("button", name="Delete stocktaking").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)


@pytest.mark.parametrize("is_all", [False, True])
def test_what_is_selected_is_counted_before_it_is_deleted(
    window: Window, service: Service, is_all: bool
) -> None:
    label = {"batch": f"b{is_all}".lower()}
    for task_id in [
        submitted(service, "charge", {"customer": n + 1}, labels=label) for n in range(60)
    ]:
        ended(service, task_id)
    page = window.open(f"tasks?label=batch%3D{label['batch']}")
    page.get_by_role("checkbox", name="Select all rows shown").check()
    bar = page.get_by_role("toolbar", name="What to do with the selected tasks")
    expect(bar).to_contain_text("50 tasks selected")
    if is_all:
        bar.get_by_role("button", name="Select all 60 that match").click()
    count = 60 if is_all else 50
    bar.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name=f"Delete {count} tasks?")
    dialog.get_by_role("button", name=f"Delete {count} tasks").click()
    expect(page.get_by_role("status", name="Notices")).to_contain_text(f"{count} tasks deleted")
    counted = service.get(f"/tasks/count?label=batch%3D{label['batch']}").json()["count"]
    assert counted == 60 - count


def test_a_link_shows_what_its_sender_saw(window: Window, service: Service) -> None:
    labels = {"tenant": "acme"}
    mine = submitted(service, "charge", {"customer": 77, "card": "declined"}, labels=labels)
    other = submitted(service, "charge", {"customer": 78, "card": "declined"})
    for task_id in (mine, other):
        ended(service, task_id)
    page = window.open(
        "tasks?status=failed&type=charge&label=tenant%3Dacme&q=declined&after=1h&order=finished"
    )
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_have_attribute("data-key", mine)
    states = page.get_by_role("group", name="States")
    expect(states.get_by_role("button", pressed=True)).to_contain_text("Failed")
    search = page.get_by_role("search")
    expect(search.get_by_label("Search")).to_have_value("declined")
    for name, value in (("Type", "charge"), ("Created", "1h"), ("Order", "finished")):
        expect(search.get_by_role("combobox", name=name, exact=True)).to_have_value(value)
    conditions = page.get_by_role("group", name="Conditions")
    conditions.get_by_role("button", name="Remove label: tenant=acme").click()
    expect(rows.filter(has_text=other[:8])).to_have_count(1)
    assert "label" not in page.url
    page.go_back()
    expect(rows).to_have_count(1)


def test_a_filter_that_excludes_everything_is_taken_away_by_a_click(
    window: Window, service: Service
) -> None:
    ended(service, submitted(service, "charge", {"customer": 1}))
    page = window.open("tasks?type=charge&q=nowhere-to-be-found")
    expect(page.locator("main")).to_contain_text("No task matches")
    page.locator("main .empty").get_by_role("button", name="search: nowhere").click()
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr").first).to_be_visible()
