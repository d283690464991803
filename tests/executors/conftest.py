from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from afterwards_executors import EXECUTORS, IN_PROCESS
from afterwards_executors.base import Executor, ExecutorFactory, Work
from afterwards_executors.cluster.executor import KIND
from afterwards_executors.hosts import crew
from afterwards_executors.hosts.executor import HostExecutor
from afterwards_executors.hosts.settings import HostSettings
from tests.executors import work
from tests.executors.dask_cluster import close_shared_cluster, cluster_executor, shared_cluster

DEADLINE_SECONDS = 60.0
"""For what happens within moments unless it never does."""

MakeExecutor = Callable[..., Executor]


FACTORIES: Final[Mapping[str, ExecutorFactory]] = {
    **EXECUTORS,
    **{f"{kind} in process": factory for kind, factory in IN_PROCESS.items()},
    KIND: cluster_executor,
}
"""All executors there are, by what tests call them."""


_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True, scope="module")
def adopts_nobody() -> None:
    """A web worker that ran in this very process has made it adopt what hosts leave behind."""
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


@pytest.fixture
def make_executor() -> Iterator[MakeExecutor]:
    """Makes started executors, shut down after the test."""
    made: list[Executor] = []

    def make(kind: str, slots: int = 2, settings: HostSettings | None = None) -> Executor:
        executor = (
            FACTORIES[kind](slots) if settings is None else HostExecutor(kind, slots, settings)
        )
        executor.start()
        made.append(executor)
        # Those of a cluster are there when it is found.
        wait_until(lambda: executor.slots().total == slots)
        return executor

    yield make
    for executor in made:
        executor.shutdown(5.0)


@pytest.fixture(autouse=True, scope="session")
def no_cluster_left() -> Iterator[None]:
    yield
    close_shared_cluster()


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    if kind == KIND:
        return [pytest.mark.processes, pytest.mark.machines]
    return [pytest.mark.processes] if kind in EXECUTORS else []


@pytest.fixture(params=[pytest.param(kind, marks=_marks(kind)) for kind in sorted(FACTORIES)])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == KIND:
        shared_cluster()  # its processes are there before the test
    return str(request.param)


@pytest.fixture(params=sorted(EXECUTORS))
def hosted(request: pytest.FixtureRequest) -> str:
    """Each kind whose calls run in hosts. `tests/conftest.py` marks what uses it."""
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
        on_progress: Callable[[bytes], None] | None = None,
        on_question: Callable[[bytes, Callable[[bytes], None] | None], None] | None = None,
    ) -> Work:
        function = getattr(work, f"{name}_async" if kind.startswith("async") else name)
        return Work(function, args, timeout_seconds, on_progress, on_question=on_question)

    return make


@pytest.fixture
def looked_after_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts are looked after all the time."""
    monkeypatch.setattr(crew, "LOOK_SECONDS", 0.05)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The file that `wait_for` waits for; made after the test, so that no thread stays."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def is_running(gate: Path) -> bool:
    """True if `wait_for` has begun to wait for the gate."""
    return gate.with_name(gate.name + ".running").exists()


def wait_until(condition: Callable[[], Any]) -> Any:
    """The first true value of `condition`; fails the test if there is none in good time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
    return value


def children() -> set[int]:
    """The children of this process that have not been reaped."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            found |= {int(pid) for pid in (task / "children").read_text(encoding="ascii").split()}
    return found


def count_of_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_gone(pid: int) -> bool:
    """True if no process has this id, or only a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"
