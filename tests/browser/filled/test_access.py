"""The dashboard without a mouse, without sight, enlarged, at rest, and with awkward payloads."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.state import LONG_WORD, RIGHT_TO_LEFT, ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service


def heading_is(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, level=1)).to_be_attached()


def focused(page: Page) -> str:
    """The focused element, as a screen reader would name it."""
    found: str = page.evaluate(
        "() => (document.activeElement.getAttribute('aria-label') "
        "?? document.activeElement.innerText).trim()"
    )
    return found


def test_by_keyboard_alone_one_goes_anywhere(shared: Window, ids: dict[str, str]) -> None:
    page = shared.open()
    for key, name in zip("tesyhwao", PAGES_BY_KEY, strict=True):
        page.keyboard.press("g")
        page.keyboard.press(key)
        heading_is(page, name)
        shared.settle()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    heading_is(page, "Tasks")
    expect(page.get_by_role("searchbox")).to_be_focused()


PAGES_BY_KEY = (
    "Tasks",
    "Errors",
    "Schedules",
    "Types",
    "Webhooks",
    "Workers",
    "Activity",
    "Overview",
)


def test_by_keyboard_alone_a_failed_task_is_found_opened_and_retried(
    shared: Window, service: Service, ids: dict[str, str]
) -> None:
    failed = submitted(service, "charge", {"customer": 21, "card": "declined"})
    ended(service, failed)
    page = shared.open("tasks")
    page.keyboard.press("/")
    page.keyboard.type(failed)
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("tr.cursor")).to_have_attribute("data-key", failed)
    page.keyboard.press("x")
    expect(page.get_by_role("toolbar")).to_contain_text("1 task selected")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    heading_is(page, "charge")
    page.keyboard.press("r")
    expect(page.get_by_role("status", name="Notices")).to_contain_text("waits for a new attempt")
    assert service.get(f"/tasks/{failed}").json()["retries"] == 1


TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def test_the_focus_stays_in_a_dialog_and_goes_back(shared: Window, ids: dict[str, str]) -> None:
    page = shared.open("schedules")
    opener = page.get_by_role("button", name="New schedule")
    opener.focus()
    # The form waits for this, however long it takes.
    late: list[Route] = []

    def hold(route: Route) -> None:
        late.append(route)

    page.route("**/task-types", hold)
    with page.expect_request("**/task-types"):
        page.keyboard.press("Enter")
    page.evaluate(TWO_FRAMES)
    late[0].continue_()
    page.unroute("**/task-types")
    dialog = page.get_by_role("dialog", name="New schedule")
    expect(dialog).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body"
            " || document.querySelector('dialog').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()


def test_the_first_key_leads_past_the_rail(shared: Window, ids: dict[str, str]) -> None:
    page = shared.open("errors")
    page.keyboard.press("Tab")
    assert focused(page) == "To the content"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_whatever_has_the_focus_shows_it(shared: Window, ids: dict[str, str]) -> None:
    page = shared.open("tasks")
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", focused(page)


@pytest.mark.parametrize(
    ("path", "tree"),
    [
        (
            "",
            """
            - navigation "Pages":
              - link /Overview/
              - link /Tasks \\d+ unfinished tasks?/
              - link /Errors \\d+ failed tasks?/
              - link /Workers 1 worker$/
            - main:
              - heading "Overview" [level=1]
              - list "Tasks by state"
              - figure:
                - heading "Throughput" [level=2]
                - button "Table"
                - img /Throughput. chart/
              - region "Failing":
                - table "Error groups"
              - region "Types":
                - table "Task types"
            """,
        ),
        (
            "tasks",
            """
            - main:
              - heading "Tasks" [level=1]
              - group "States"
              - search
              - status: /match/
              - table "Tasks":
                - rowgroup:
                  - row:
                    - columnheader "Select all rows shown"
                    - columnheader "State"
                    - columnheader "Task"
            """,
        ),
        (
            "schedules",
            """
            - main:
              - heading "Schedules" [level=1]
              - table "Schedules":
                - rowgroup
                - rowgroup:
                  - row /nightly/:
                    - cell
                    - cell /at 03:00 Europe/
                    - cell
                    - cell
                    - cell
                    - cell
                    - cell:
                      - 'button "Run now: nightly"'
                      - 'button "Pause nightly"'
                      - 'button "Edit nightly"'
                      - 'button "Delete nightly"'
            """,
        ),
    ],
    ids=["overview", "tasks", "schedules"],
)
def test_a_screen_reader_finds_names(
    shared: Window, ids: dict[str, str], path: str, tree: str
) -> None:
    page = shared.open(path)
    expect(page.locator("body")).to_match_aria_snapshot(tree)


def test_no_control_is_without_a_name(shared: Window, ids: dict[str, str]) -> None:
    for path in ("", "tasks", f"tasks/{ids['failed']}", "types/charge", "schedules"):
        page = shared.open(path)
        nodes = shared.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        nameless = [
            node["role"]["value"]
            for node in nodes
            if node.get("role", {}).get("value") in CONTROLS
            and not node.get("ignored")
            and not node.get("name", {}).get("value")
        ]
        assert nameless == [], path


CONTROLS = frozenset(
    {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "table", "dialog", "image"}
)


@pytest.mark.parametrize("path", ["", "tasks", "schedules", "webhooks", "workers", "types/charge"])
def test_at_200_percent_nothing_is_cut_off(shared: Window, ids: dict[str, str], path: str) -> None:
    # A window of 1280 pixels, enlarged twice, has 640 of its own.
    shared.page.set_viewport_size({"width": 640, "height": 450})
    page = shared.open(path)
    assert shared.overhang() <= 0
    covered = page.evaluate(COVERED)
    assert covered == []


COVERED = """() => [...document.querySelectorAll("main :is(a, button, input, select)")]
    .filter((one) => {
        one.scrollIntoView({block: "center"});
        const {left, top, width, height} = one.getBoundingClientRect();
        if (!width || !height || one.closest(".scroller, .states, .doing")) return false;
        const found = document.elementFromPoint(left + width / 2, top + height / 2);
        return !(found && (one.contains(found) || found.contains(one)));
    })
    .map((one) => one.outerHTML)"""
"""Controls whose middle is under something else; what scrolls by itself is left out."""


def test_who_wants_no_motion_sees_none(
    new_window: Callable[..., Window], ids: dict[str, str]
) -> None:
    page = new_window(reduced_motion="reduce").open("tasks?status=processing")
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr").first).to_be_visible()
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_motion_is_there_for_the_others(shared: Window, ids: dict[str, str]) -> None:
    page = shared.open("tasks?status=processing")
    expect(page.get_by_role("table", name="Tasks").locator("tbody tr").first).to_be_visible()
    assert page.evaluate("() => document.getAnimations().length") > 0


@pytest.mark.parametrize("width", [1280, 390])
def test_texts_of_any_script_and_length_stay_in_their_places(
    shared: Window, service: Service, ids: dict[str, str], width: int
) -> None:
    payload = {"customer": 5, "note": LONG_WORD, "details": {RIGHT_TO_LEFT: RIGHT_TO_LEFT}}
    task_id = submitted(service, "charge", payload)
    ended(service, task_id)
    shared.page.set_viewport_size({"width": width, "height": 900})
    for path in (f"tasks/{task_id}", "tasks?type=charge", "errors"):
        page = shared.open(path)
        assert shared.overhang() <= 0, path
    page = shared.open(f"tasks/{task_id}")
    shown = page.get_by_role("region", name="Payload, JSON")
    expect(shown).to_contain_text(RIGHT_TO_LEFT)
    value = shown.locator("bdi.text", has_text="بطاقة").first
    # By itself, so that it turns round nothing beside it.
    assert value.evaluate("(text) => getComputedStyle(text).unicodeBidi") == "isolate"
    assert value.evaluate("(text) => getComputedStyle(text).direction") == "rtl"


def test_a_megabyte_is_folded_until_it_is_opened(
    shared: Window, service: Service, ids: dict[str, str]
) -> None:
    payload = {"customer": 1, "details": {f"key-{n}": "x" * 80 for n in range(11_000)}}
    task_id = submitted(service, "charge", payload)
    ended(service, task_id)
    page = shared.open(f"tasks/{task_id}")
    shown = page.get_by_role("region", name="Payload", exact=True)
    expect(shown).to_contain_text("1010 KiB, folded")
    assert page.locator("*").count() < 1_000
    shown.get_by_role("button", name=re.compile(r"^\{")).first.click()
    shown.get_by_role("button", name="details").click()
    expect(shown.get_by_role("button", name=re.compile("10,900 more"))).to_be_visible()
    assert page.locator("*").count() < 1_500
