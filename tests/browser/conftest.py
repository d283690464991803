"""One service for each file of tests, and one browser for the files that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from loadtests.browser import CHROMIUM, MISSING, chromium
from tests.browser.window import SECONDS, Window
from tests.integration.conftest import Service


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    expect.set_options(timeout=SECONDS * 1_000)
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one worker and the task types of `work.py`; not started without a browser."""
    running = Service(tmp_path_factory.mktemp("service"), workers="1", task_modules="work")
    running.directory = Path(__file__).parent
    try:
        running.start()
        yield running
    finally:
        running.kill_everything()
        running.client.close()


@pytest.fixture
def new_window(browser: Browser, service: Service) -> Iterator[Callable[..., Window]]:
    """Makes windows, each of a browser profile of its own; no one may have told of a fault."""
    made: list[Window] = []

    def make(**options: Any) -> Window:
        made.append(Window(browser.new_context(**options), service.url))
        return made[-1]

    yield make
    for window in made:
        window.context.close()
    assert [fault for window in made for fault in window.faults] == []


@pytest.fixture(scope="module")
def _shared(browser: Browser, service: Service) -> Iterator[Window]:
    window = Window(browser.new_context(), service.url)
    yield window
    window.context.close()


@pytest.fixture
def shared(_shared: Window) -> Iterator[Window]:
    """One window for all tests of a file: only the first loads what pages share."""
    _shared.faults.clear()
    _shared.page.set_viewport_size({"width": 1280, "height": 900})
    yield _shared
    assert _shared.faults == []


@pytest.fixture
def window(new_window: Callable[..., Window]) -> Window:
    return new_window(viewport={"width": 1280, "height": 900})
