from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwards_executors import EXECUTORS
from afterwards_executors.base import Executor, Work
from tests.executors import work

DEADLINE_SECONDS = 20.0
"""For what happens within moments unless it never does."""

MakeExecutor = Callable[..., Executor]


@pytest.fixture(scope="session", autouse=True)
def children_import_no_test_runner() -> Iterator[None]:
    """Spawning imports the parent's main module again, and pytest is a heavy one."""
    main = sys.modules["__main__"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "__spec__", None)
        patch.delattr(main, "__file__", raising=False)
        yield


@pytest.fixture
def make_executor() -> Iterator[MakeExecutor]:
    """Makes started executors, shut down after the test."""
    made: list[Executor] = []

    def make(kind: str, slots: int = 2) -> Executor:
        executor = EXECUTORS[kind](slots)
        executor.start()
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.shutdown(5.0)


@pytest.fixture(params=sorted(EXECUTORS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def executor(kind: str, make_executor: MakeExecutor) -> Executor:
    """One of each kind, with two slots."""
    return make_executor(kind)


@pytest.fixture
def call(kind: str) -> Callable[..., Work]:
    """Makes the `Work` of a function in `tests.executors.work`, as the executor's kind takes it."""

    def make(
        name: str,
        *args: Any,
        timeout_seconds: float | None = None,
        on_note: Callable[[bytes], None] | None = None,
    ) -> Work:
        function = getattr(work, f"{name}_async" if kind == "async" else name)
        return Work(function, args, timeout_seconds, on_note)

    return make


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """What `wait_for` waits for. Opened after the test, so that no thread is left waiting."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def is_running(gate: Path) -> bool:
    """Whether `wait_for` has begun to wait for the gate."""
    return gate.with_name(gate.name + ".running").exists()


def wait_until(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`; fails the test if there is none in good time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value
