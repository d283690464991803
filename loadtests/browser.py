"""Chromium, as tests and measurements open the dashboard in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from loadtests.errors import LoadTestError

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING: Final = "chromium is not there; make tools gets it"
_ARGUMENTS: Final = (
    "--disable-gpu",
    # Containers have little shared memory.
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a screen.

    Raises:
        LoadTestError: it is not installed.
    """
    if CHROMIUM is None:
        raise LoadTestError(MISSING)
    # Its sandbox does not let root in.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[*_ARGUMENTS, *sandbox],
            # Users see them, and they take room.
            ignore_default_args=["--hide-scrollbars"],
        )
        try:
            yield browser
        finally:
            browser.close()
