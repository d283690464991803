"""The dashboard on a long history, as a browser sees it, and what it costs submissions."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

from loadtests.bench import stock, synced
from loadtests.bench.figures import Figure, Row, percentile
from loadtests.bench.stand import Stand
from loadtests.browser import chromium
from loadtests.connection import get
from loadtests.servers import Service

_WINDOWS: Final = 5
"""Open while submissions are measured."""
_LIST: Final = "/tasks?limit=50&summary=true"
_LISTS: Final = (
    _LIST,
    f"{_LIST}&status=success",
    f"{_LIST}&type=notification",
    f"{_LIST}&order=finished",
)

_WATCH: Final = Path(__file__).parents[1] / "watch.js"


@dataclass
class _Found:
    """The measurements, round by round."""

    overview: list[float] = field(default_factory=list)
    filter: list[float] = field(default_factory=list)
    task: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    stream: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)


def measure(stand: Stand) -> Iterator[Row]:
    """With the largest stock of finished tasks."""
    number = stand.sizes.stored[-1]
    stand.say(f"dashboard: writing a journal of {number:,} tasks")
    service = stand.service()
    stock.fill_by(stand.program, service.data_dir, number)
    found = _Found()
    with chromium() as browser, service:
        durability = synced.require(service, stand.sizes.synced)
        stand.warm_up(service)
        for _ in stand.rounds("dashboard"):
            _look(browser, service, stand.sizes.views, found)
            found.listed.append(_at_the_server(service, stand.sizes.views))
            _load(browser, service, stand, found)
    shutil.rmtree(service.directory)
    yield from _rows(number, found, str(durability))


def _look(browser: Browser, service: Service, views: int, found: _Found) -> None:
    """The pages of one user: each page for the first time, then again and again."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(path=_WATCH)
    overview, filtered, tasks = [], [], []
    for view in range(views):
        page.goto(f"{service.url}/dashboard/")
        overview.append(float(page.evaluate("watch.overview()")))
        if view == 0:
            found.cold.append(float(page.evaluate("watch.transferred(false)")))
        page.goto(f"{service.url}/dashboard/tasks")
        page.evaluate("watch.rows()")
        filtered.append(float(page.evaluate("watch.filter()")))
        tasks.append(float(page.evaluate("watch.task()")))
    page.goto(f"{service.url}/dashboard/")
    page.evaluate("watch.overview()")
    found.warm.append(float(page.evaluate("watch.transferred(true)")))
    found.overview.append(percentile(overview, 0.5))
    found.filter.append(percentile(filtered, 0.5))
    found.task.append(percentile(tasks, 0.5))
    context.close()


def _at_the_server(service: Service, views: int) -> float:
    took: list[float] = []
    with service.connect() as connection:
        for path in _LISTS * views:
            started = time.perf_counter()
            connection.expect(200, get(path))
            took.append((time.perf_counter() - started) * 1e3)
    return percentile(took, 0.95)


def _load(browser: Browser, service: Service, stand: Stand, found: _Found) -> None:
    """Submissions as fast as they are accepted: alone, and with windows open."""
    found.alone.append(stand.post(service).per_second)
    context = browser.new_context()
    context.add_init_script(path=_WATCH)
    pages = [context.new_page() for _ in range(_WINDOWS)]
    for page in pages:
        page.goto(f"{service.url}/dashboard/")
        page.evaluate("watch.overview()")
    received = _counted(pages[0])
    pages[0].evaluate("watch.count()")
    started = time.perf_counter()
    # The driver of the browser has this thread.
    with ThreadPoolExecutor(1) as other:
        load = other.submit(stand.post, service)
        while not load.done():
            pages[0].wait_for_timeout(100)
    seconds = time.perf_counter() - started
    found.watched.append(load.result().per_second)
    found.updates.append(float(pages[0].evaluate("watch.updates")) / seconds)
    found.stream.append(sum(received) / 1e3 / seconds)
    context.close()


def _counted(page: Page) -> list[int]:
    """Grows by what comes over the network."""
    received: list[int] = []
    session = page.context.new_cdp_session(page)
    # What is streamed has no length on the wire of its own.
    session.on(
        "Network.dataReceived",
        lambda event: received.append(event["encodedDataLength"] or event["dataLength"]),
    )
    session.send("Network.enable")
    return received


def _rows(number: int, found: _Found, durable: str) -> Iterator[Row]:
    for name, unit, values, budget in (
        ("overview usable, from its navigation", "ms", found.overview, "200"),
        ("another filter, from the click to the rows", "ms", found.filter, "100"),
        ("a task's page, from the click", "ms", found.task, "100"),
        ("a list at the server, p95", "ms", found.listed, "50"),
        ("overview transferred, nothing cached", "kB", found.cold, "100"),
        ("its files transferred, cached", "kB", found.warm, "0"),
        ("updates of the screen under load", "1/s", found.updates, "4"),
        ("received by a window under load", "kB/s", found.stream, "5"),
    ):
        what = f"{number:,} tasks stored: {name}"
        yield Row(
            "dashboard", what, unit, Figure.of(values), None, "", durable, f"budget {budget} {unit}"
        )
    yield Row(
        "dashboard",
        f"POST accepted, {_WINDOWS} windows open",
        "1/s",
        Figure.of(found.watched),
        Figure.of(found.alone),
        "no window",
        durable,
        note="budget 2 % less",
    )
