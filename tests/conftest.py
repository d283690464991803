"""What holds for every test: the environment it sees, and that CI skips nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog

from afterwards.settings import PLAIN_NAMES, PREFIX, Settings


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_ones_own() -> Iterator[None]:
    """Neither the shell's variables nor a `.env` in the checkout decide what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(PREFIX) or name in PLAIN_NAMES.values():
                patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """Where a test sets up no logging, structlog would have rich draw tracebacks: 0.3 s each."""
    # On the renderer that a reset of structlog brings back, too.
    renderer = structlog.get_config()["processors"][-1]
    assert isinstance(renderer, structlog.dev.ConsoleRenderer)
    renderer.exception_formatter = structlog.dev.plain_traceback


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    # A tool that is missing may skip a test on somebody's machine; in CI that would hide it.
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report  # type: ignore[return-value]
