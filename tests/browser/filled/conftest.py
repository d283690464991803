"""One service for all files of this folder: to fill it takes as long as some of their tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.serving import serving
from tests.browser.state import filled
from tests.integration.conftest import Service


@pytest.fixture(scope="package")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="package")
def ids(service: Service) -> dict[str, str]:
    """Tasks by their state: see `filled`."""
    return filled(service)
