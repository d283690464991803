"""The ties of tasks: parents and children, groups, keys, and the files that they make."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.state import ended, submitted
from tests.browser.window import Window, state_is
from tests.integration.conftest import Service


def test_a_list_takes_the_ties_of_tasks_as_conditions(window: Window, service: Service) -> None:
    long_key = "account-" + "7" * 247
    parent = submitted(service, "split", {"customers": [1, 2]}, unique_key="split-7")
    keyed = submitted(
        service, "export", {"seconds": 1}, delay_seconds=3_600, concurrency_key=long_key
    )
    assert ended(service, parent) == "success"
    page = window.open(f"tasks?parent={parent}")
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    conditions = page.get_by_role("group", name="Conditions")
    expect(rows).to_have_count(2)
    expect(page.locator("main .doing")).to_contain_text("2 match")
    conditions.get_by_role("button", name=f"Remove parent: {parent[:8]}").click()
    expect(conditions).to_have_count(0)
    assert "parent" not in page.url
    page.set_viewport_size({"width": 390, "height": 900})
    for query, word, found in (
        (f"concurrency_key={long_key}", f"concurrency key: {long_key}", keyed),
        ("unique_key=split-7", "unique key: split-7", parent),
    ):
        window.open(f"tasks?{query}")
        expect(rows).to_have_count(1)
        expect(rows).to_have_attribute("data-key", found)
        expect(conditions.get_by_role("button", name=f"Remove {word}")).to_be_visible()
        assert window.overhang() <= 0
    window.open(f"tasks?group={parent}")
    main = page.locator("main")
    main.locator(".empty").get_by_role("button", name=f"group: {parent[:8]}").click()
    expect(rows.first).to_be_visible()


def test_a_task_leads_to_its_children_its_parent_and_its_files(
    window: Window, service: Service
) -> None:
    parent = submitted(service, "split", {"customers": [1, 2]})
    assert ended(service, parent) == "success"
    page = window.open(f"tasks/{parent}")
    files = page.get_by_role("region", name="Files")
    expect(files.get_by_role("listitem")).to_have_text("customers 1.txt 4 B")
    with page.expect_download() as download:
        files.get_by_role("link", name="customers 1.txt").click()
    assert download.value.path().read_text() == "1\n2\n"
    assert window.violations() == []
    page.get_by_label("Facts").get_by_role("link", name="2 tasks").click()
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").first.click()
    state_is(page, "Success")
    expect(page.get_by_label("Facts").get_by_role("link", name=parent[:8])).to_be_visible()


def test_a_task_that_follows_a_batch_shows_how_far_that_is(
    window: Window, service: Service
) -> None:
    members = [
        {"type": "charge", "payload": {"customer": 1}},
        {"type": "charge", "payload": {"customer": 2, "card": "declined"}},
        {"type": "export", "payload": {"seconds": 1}, "delay_seconds": 3_600},
    ]
    then = {"type": "charge", "payload": {"customer": 3}, "on": "finished"}
    batch = service.post("/tasks/batch", {"tasks": members, "then": then}).json()
    done, declined, late = (task["id"] for task in batch["tasks"])
    assert [ended(service, task_id) for task_id in (done, declined)] == ["success", "failed"]
    page = window.open(f"tasks/{batch['then']['id']}")
    expect(page.locator("main .waits")).to_have_text("Waits for its group.")
    facts = page.get_by_label("Facts")
    expect(facts).to_contain_text("1 succeeded, 1 failed")
    assert window.violations() == []
    page.set_viewport_size({"width": 390, "height": 900})
    progress = facts.get_by_role("progressbar", name="Finished tasks of the group")
    words = facts.get_by_role("link", name="2 of 3 tasks finished")
    bar, link = progress.bounding_box(), words.bounding_box()
    assert bar is not None
    assert link is not None
    assert bar["y"] < link["y"], "the words stand below the bar"
    assert link["height"] < 30, "the words stand in one line"
    page.set_viewport_size({"width": 1280, "height": 900})
    words.click()
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    expect(rows).to_have_count(3)
    rows.filter(has_text=late[:8]).get_by_role("link").first.click()
    page.get_by_role("button", name="Cancel").click()
    ends = "1 succeeded, 1 failed, 1 cancelled"
    expect(facts).to_contain_text(ends)
    facts.get_by_role("link", name=batch["then"]["id"][:8]).click()
    state_is(page, "Success")
    expect(page.locator("main .waits")).to_have_count(0)


def test_no_undo_starts_a_task_without_its_group(window: Window, service: Service) -> None:
    members = [{"type": "export", "payload": {"seconds": 1}, "delay_seconds": 3_600}]
    then = {"type": "charge", "payload": {"customer": 3}}
    batch = service.post("/tasks/batch", {"tasks": members, "then": then}).json()
    page = window.open(f"tasks/{batch['then']['id']}")
    page.get_by_role("button", name="Cancel").click()
    notice = page.get_by_role("status", name="Notices")
    expect(notice).to_contain_text("was cancelled before it ran")
    expect(notice.get_by_role("button", name="Undo")).to_have_count(0)


def test_a_task_says_which_key_it_waits_for(window: Window, service: Service) -> None:
    key = {"concurrency_key": "account-7"}
    first, second = (submitted(service, "export", {"seconds": 600}, **key) for _ in range(2))
    page = window.open(f"tasks/{second}")
    waits = page.locator("main .waits")
    expect(waits).to_have_text("Waits for its key account-7: 1 attempt runs.")
    assert window.violations() == []
    page.get_by_label("Facts").get_by_role("link", name="account-7").click()
    rows = page.get_by_role("table", name="Tasks").locator("tbody tr")
    expect(rows).to_have_count(2)
    page.go_back()
    for task_id in (first, second):
        assert service.post(f"/tasks/{task_id}/cancel").is_success
    state_is(page, "Cancelled")
    expect(waits).to_have_count(0)
