"""The surroundings of every test: the environment it sees, no skips in CI, and which are quick."""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from afterwards import logs
from afterwards.setting_sources import PLAIN_NAMES, PREFIX
from afterwards.settings import Settings
from afterwards.system.gc_tuning import collector_paused, share_the_loaded


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
    """Keep tracebacks plain: rich would take 0.3 s to draw one where no logging is set up."""
    # On the renderer that a reset of structlog brings back, too.
    renderer = structlog.get_config()["processors"][-1]
    assert isinstance(renderer, structlog.dev.ConsoleRenderer)
    renderer.exception_formatter = structlog.dev.plain_traceback


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Leave no other logging behind: lines that a command suppresses are read by later tests."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
        logs._debug_lines.drop(False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment] # pluggy sends the report
    # A tool that is missing may skip a test on somebody's machine; in CI that would hide it.
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report  # type: ignore[return-value] # pluggy takes what a wrapper returns


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave what is collected out of all collections of garbage: it lasts, and there is much."""
    with collector_paused():
        collected = yield
    share_the_loaded()
    return collected


# -- which tests start processes ------------------------------------------------------------------

_WITH_PROCESSES: Final = frozenset(
    {"browser", "chaos", "deploy", "examples", "integration", "loadtests", "reliability"}
)
"""Folders whose tests start processes."""
_FIXTURES_WITH_PROCESSES: Final = frozenset({"hosted", "processes"})
_PARAMETERS_WITH_PROCESSES: Final = frozenset({"manager", "process"})
"""The registry and the executor that are processes."""
_LONGEST: Final = (Path(__file__).parent / "longest_files.txt").read_text().split()
"""The files that take longest, in the order of that. `tests/test_longest_files.py` prints it."""
_started: list[str] = []


def _noted(module: Any, name: str) -> None:
    """Have each call of a function that starts a process noted.

    Not by an audit hook: one in Python lets go of the interpreter while coverage sets its trace
    function, and a thread that starts just then fails.
    """
    real = getattr(module, name)

    def start(*arguments: Any, **options: Any) -> Any:
        _started.append(name.strip("_"))
        return real(*arguments, **options)

    setattr(module, name, start)


_noted(os, "fork")
_noted(subprocess.Popen, "_execute_child")
_noted(multiprocessing.util, "spawnv_passfds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes; `make quick` leaves it out. The longest files go first."""
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0]
        fixtures: Sequence[str] = getattr(item, "fixturenames", ())
        parameters = getattr(item, "callspec", None)
        names = () if parameters is None else parameters.id.split("-")
        if (
            folder in _WITH_PROCESSES
            or not _FIXTURES_WITH_PROCESSES.isdisjoint(fixtures)
            or not _PARAMETERS_WITH_PROCESSES.isdisjoint(names)
        ):
            item.add_marker(pytest.mark.processes)
    # A file stays with one process: a long one that comes last has the others wait for it.
    ranks = {path: rank for rank, path in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(tests).as_posix(), len(ranks)))


# -- which processes are measured ------------------------------------------------------------------

_UNMEASURED: Final = _WITH_PROCESSES | {"client", "server"}
"""Folders whose tests start whole services. To measure those, too, would more than double what the
processes cost to start, and show little that other tests have not run."""
_MEASURE: Final = "COVERAGE_PROCESS_CONFIG"
"""By this variable coverage finds the processes that a test starts."""
_measured: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before all fixtures, of whatever scope."""
    found = os.environ.pop(_MEASURE, None)
    if found is not None:
        _measured[:] = [found]
    if _measured and item.path.relative_to(Path(__file__).parent).parts[0] not in _UNMEASURED:
        os.environ[_MEASURE] = _measured[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Disown the processes that were started while the tests were imported."""
    _started.clear()


@pytest.fixture(autouse=True)
def marked_if_it_starts_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that starts a process says so, or `make quick` would not be."""
    yield
    # What fixtures for more than this test have started counts, too.
    started, _started[:] = [*_started], []
    if started and request.node.get_closest_marker("processes") is None:
        pytest.fail(f"it starts a process ({started[0]}): mark it with pytest.mark.processes")
