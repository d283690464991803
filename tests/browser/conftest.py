"""One service for each file of tests, and one browser for the files that follow each other.

Not for the whole session: while playwright runs, no test in this process can run an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from loadtests.browser import CHROMIUM, MISSING, chromium
from tests.browser.serving import serving
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
    """A service that has done nothing yet; not started without a browser."""
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


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
