"""`docs/recipes.md`, followed to the letter, and what its recipes promise."""

from __future__ import annotations

import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from loadtests.browser import CHROMIUM, MISSING, chromium
from tests.integration.conftest import Service, wait_for
from tests.integration.reader import BLOCK, Command, Reader, commands

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
PREPARATION, *_ = PAGE.split("\n## ")
SERVE = "afterwards serve"

ORDER = "from shop.orders import open_database, place_order; place_order(open_database(), {}, {!r})"
OUTBOX = "SELECT payload, refused FROM outbox"


def all_commands(text: str) -> Iterator[Command]:
    for block in BLOCK.finditer(text):
        if block["kind"] == "console":
            yield from commands(block["body"])


def modules() -> str:
    """The task modules of all recipes: one service serves them."""
    settings = [
        shlex.split(command.line)[0]
        for command in all_commands(PAGE)
        if command.line.endswith(SERVE)
    ]
    return ",".join(setting.removeprefix("AFTERWARDS_TASK_MODULES=") for setting in settings)


def follow(reader: Reader, text: str) -> None:
    """Run the commands of a part of the page; the service is started already."""
    for command in all_commands(text):
        if not command.line.endswith(SERVE):
            reader.run(command)


def recipe(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with the files of all recipes and a service of all their task types."""
    reader = Reader(tmp_path_factory.mktemp("recipes"))
    follow(reader, PREPARATION)
    for block in BLOCK.finditer(PAGE):
        if block["path"] is not None:
            reader.write(block["path"], block["body"])
    reader.service = Service(reader.directory, task_modules=modules())
    try:
        reader.service.start()
        yield reader
    finally:
        reader.leave()


@pytest.fixture
def service(reader: Reader) -> Service:
    assert reader.service is not None
    return reader.service


def test_each_block_of_the_page_is_written_or_run() -> None:
    kinds = {block["kind"] for block in BLOCK.finditer(PAGE) if block["path"] is None}
    assert kinds == {"console"}


# -- a task in the transaction of your application -------------------------------------------------


def python(reader: Reader, *arguments: str) -> subprocess.Popen[str]:
    assert reader.service is not None
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=reader.directory,
        env={"AFTERWARDS_URL": reader.service.url},
        stderr=subprocess.PIPE,
        text=True,
    )


def place_order(reader: Reader, number: int, email: str) -> str:
    """Place an order as the application does; what it says if it cannot."""
    with python(reader, "-c", ORDER.format(number, email)) as placing:
        return placing.communicate()[1]


@contextmanager
def relay(reader: Reader) -> Iterator[None]:
    """A running relay, which is killed at the end."""
    with python(reader, "-m", "shop.relay") as running:
        try:
            yield
            assert running.poll() is None
        finally:
            running.kill()


@pytest.fixture
def shop(reader: Reader) -> Iterator[sqlite3.Connection]:
    """The database of the application, with its tables."""
    assert place_order(reader, 1, "first@example.com") == ""
    with closing(sqlite3.connect(reader.directory / "shop.db", isolation_level=None)) as database:
        yield database
        database.executescript("DELETE FROM outbox; DELETE FROM orders;")


def tasks_for(service: Service, email: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"/tasks?q=payload.email={email}").json()["tasks"]
    return found


def test_a_relay_that_is_killed_between_request_and_deletion_makes_one_task(
    reader: Reader, service: Service, shop: sqlite3.Connection
) -> None:
    # While the test holds the lock of writers, the relay cannot delete what it has submitted.
    shop.execute("BEGIN IMMEDIATE")
    with relay(reader):
        (task,) = wait_for(lambda: tasks_for(service, "first@example.com"), "a task of the outbox")
    shop.execute("ROLLBACK")
    assert len(shop.execute(OUTBOX).fetchall()) == 1
    with relay(reader):
        wait_for(lambda: shop.execute(OUTBOX).fetchall() == [], "an empty outbox")
    assert [one["id"] for one in tasks_for(service, "first@example.com")] == [task["id"]]


def test_an_order_that_is_not_placed_leaves_no_task(
    reader: Reader, shop: sqlite3.Connection
) -> None:
    assert "IntegrityError" in place_order(reader, 1, "second@example.com")
    ((payload, _),) = shop.execute(OUTBOX)
    assert "first@example.com" in payload


def test_a_row_that_the_service_refuses_says_why_and_holds_up_no_other(
    reader: Reader, service: Service, shop: sqlite3.Connection
) -> None:
    assert place_order(reader, 2, "no address") == ""
    assert place_order(reader, 3, "third@example.com") == ""
    with relay(reader):
        wait_for(lambda: tasks_for(service, "third@example.com"), "a task behind the refused one")
        wait_for(lambda: len(shop.execute(OUTBOX).fetchall()) == 1, "the refused row alone")
    ((_, refused),) = shop.execute(OUTBOX)
    assert "not an email address" in refused


# -- recipes whose commands show what they promise -------------------------------------------------


@pytest.mark.parametrize(
    "title", ["Many tasks and a summary", "An import for each tenant", "Tests"]
)
def test_the_commands_of_a_recipe_answer_what_it_shows(reader: Reader, title: str) -> None:
    follow(reader, recipe(title))


# -- a progress bar in a page ----------------------------------------------------------------------

HTML = "progress.html"
BROWSER_MS = 20_000.0


@pytest.fixture
def page(reader: Reader, service: Service) -> Iterator[Page]:
    """A window in which `progress.html` has the service's origin, as behind a proxy."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with chromium() as browser:
        page = browser.new_page(base_url=service.url)
        page.route(f"**/{HTML}*", lambda route: route.fulfill(path=reader.directory / HTML))
        yield page


def submit_import(service: Service, rows: int) -> str:
    payload = {"tenant": "initech", "file": "june.csv", "rows": rows}
    task_id: str = service.post("/tasks", {"type": "import", "payload": payload}).json()["id"]
    return task_id


def test_a_page_shows_the_progress_of_a_task_and_its_end(service: Service, page: Page) -> None:
    note, bar = page.get_by_role("status"), page.get_by_role("progressbar")

    running = submit_import(service, rows=100_000)
    page.goto(f"/{HTML}?task={running}")
    expect(note).to_contain_text("of 100000 rows", timeout=BROWSER_MS)
    before = bar.evaluate("bar => bar.value")
    grown = "before => document.querySelector('progress').value > before"
    page.wait_for_function(grown, arg=before, timeout=BROWSER_MS)
    service.post(f"/tasks/{running}/cancel")
    expect(note).to_have_text("Cancelled", timeout=BROWSER_MS)

    page.goto(f"/{HTML}?task={submit_import(service, rows=10)}")
    expect(note).to_have_text("Done", timeout=BROWSER_MS)
    assert bar.evaluate("bar => bar.value") == 1
