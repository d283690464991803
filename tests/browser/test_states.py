"""Every page while it loads, without data, refused, offline, and where nothing may be changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Final

import pytest
from playwright.sync_api import Page, Route, expect

from afterwards.dashboard.shell import PAGES
from tests.browser.state import ended, submitted
from tests.browser.window import Window
from tests.integration.conftest import Service

API: Final = re.compile(
    r"/(tasks|stats|errors|task-types|schedules|webhooks|workers|activity|events)(?!\w)(?!.*assets)"
)
NAMES: Final = {"tasks/": "tasks/7e57da7a-0000-4000-8000-000000000000", "types/": "types/charge"}
EMPTY: Final = {
    "": "No tasks yet",
    "tasks": "No tasks yet",
    "tasks/": "Not here",
    "errors": "No task is failed",
    "schedules": "No schedules",
    "webhooks": "No webhooks",
    "activity": "Nothing was done by hand yet",
    "types/": "The number on the invoice.",
    "types": "charge",
    "workers": "Nothing runs here.",
}
"""The pages' texts about a service that has done nothing."""

REFUSALS: Final = {401: "A key is needed", 403: "Not allowed", 500: "It did not work"}

every_page = pytest.mark.parametrize("path", PAGES, ids=PAGES.values())


def url_of(window: Window, path: str) -> str:
    return f"{window.url}/dashboard/{NAMES.get(path, path)}"


def to_api(window: Window, handle: Callable[[Route], None]) -> None:
    """Have what pages ask the API answered by `handle`; documents and files come as ever."""

    def choose(route: Route) -> None:
        if "/dashboard" in route.request.url:
            route.fallback()
        else:
            handle(route)

    window.context.route(API, choose)


def refuse(status: int) -> Callable[[Route], None]:
    problem = {"title": "Refused", "status": status, "detail": f"That is a {status}"}

    def answer(route: Route) -> None:
        route.fulfill(
            status=status, content_type="application/problem+json", body=json.dumps(problem)
        )

    return answer


@pytest.fixture
def quiet(shared: Window) -> Iterator[Window]:
    """A window in which requests may be refused."""
    shared.outages_are_meant = True
    yield shared
    shared.context.unroute_all()


@every_page
def test_a_page_without_data_says_what_to_do(quiet: Window, path: str) -> None:
    quiet.open(NAMES.get(path, path))
    expect(quiet.page.locator("main")).to_contain_text(EMPTY[path])
    assert quiet.violations() == []


@every_page
def test_a_page_that_loads_has_the_height_of_what_comes(quiet: Window, path: str) -> None:
    waiting: list[Route] = []
    to_api(quiet, waiting.append)
    quiet.page.goto(url_of(quiet, path))
    expect(quiet.page.get_by_role("status", name="Loading").first).to_be_visible()
    expect(quiet.page.locator("main h1")).to_be_attached()
    assert quiet.violations() == []
    for route in waiting:
        route.abort()


@pytest.mark.parametrize(
    ("path", "status"), [*zip(PAGES, cycle(REFUSALS), strict=False)], ids=PAGES.values()
)
def test_a_refusal_takes_the_place_of_the_data(quiet: Window, path: str, status: int) -> None:
    to_api(quiet, refuse(status))
    quiet.page.goto(url_of(quiet, path))
    said = quiet.page.locator("main").get_by_text(f"That is a {status}")
    expect(said.first).to_be_visible()
    if path:
        expect(quiet.page.get_by_role("alert")).to_contain_text(REFUSALS[status])
    assert quiet.violations() == []


@every_page
def test_a_page_that_begins_offline_fills_when_the_service_answers(
    quiet: Window, path: str
) -> None:
    to_api(quiet, lambda route: route.abort("connectionrefused"))
    quiet.context.route("**/readyz", lambda route: route.abort("connectionrefused"))
    quiet.page.goto(url_of(quiet, path))
    banner = quiet.page.get_by_role("status").filter(has_text="Offline.")
    expect(banner).to_be_visible()
    assert quiet.violations() == []
    retry = banner.get_by_role("button", name="Retry now").element_handle()
    quiet.context.unroute_all()
    # The page may have come back by itself just then, without this button.
    retry.evaluate("button => button.click()")
    expect(banner).to_have_count(0)
    expect(quiet.page.locator("main")).to_contain_text(EMPTY[path])


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_refused_action_turns_the_pages_read_only(
    quiet: Window, service: Service, status: int
) -> None:
    task_id = submitted(service, "export", {"seconds": 1}, delay_seconds=3_600)
    page = quiet.open(f"tasks/{task_id}")
    quiet.context.route(
        re.compile("/cancel$"),
        refuse(status),
    )
    page.get_by_role("button", name="Cancel").click()
    banner = page.get_by_role("status").filter(has_text="Read only.")
    expect(banner).to_contain_text(f"That is a {status}")
    nothing_can_be_done(page)
    assert quiet.violations() == []
    for name in ("Tasks", "Errors", "Types", "Schedules", "Webhooks", "Overview"):
        page.get_by_role("link", name=re.compile(f"^{name}")).first.click()
        expect(page.get_by_role("heading", name=name, level=1)).to_be_attached()
        quiet.settle()
        nothing_can_be_done(page)
    banner.get_by_role("button", name="Try anyway").click()
    expect(page.get_by_role("button", name="Submit a task").first).to_be_visible()
    assert service.post(f"/tasks/{task_id}/cancel").is_success
    assert service.client.delete(f"/tasks/{task_id}").is_success


def nothing_can_be_done(page: Page) -> None:
    verbs = re.compile(
        r"^(Cancel|Retry|Run now|Delete|Duplicate|Submit|New schedule|Pause type|Edit"
        r"|Test|Replay|Enable|Disable)\b"
    )
    expect(page.locator("main").get_by_role("button", name=verbs)).to_have_count(0)


def test_a_task_that_is_deleted_is_told_from_one_that_never_was(
    quiet: Window, service: Service
) -> None:
    task_id = submitted(service, "charge", {"customer": 1})
    ended(service, task_id)
    assert service.client.delete(f"/tasks/{task_id}").is_success
    page = quiet.open(f"tasks/{task_id}")
    expect(page.get_by_role("alert")).to_contain_text("It was deleted")
    page = quiet.open(NAMES["tasks/"])
    expect(page.get_by_role("alert")).to_contain_text("There is nothing under this name")


def test_a_page_that_there_is_not_leads_back(quiet: Window) -> None:
    page = quiet.open("nowhere")
    expect(page.locator("main")).to_contain_text("No such page")
    assert quiet.violations() == []
    page.locator("main").get_by_role("link", name="Overview").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_attached()
