"""Lifespans: entered once a process, before its first attempt, and left when it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwards.execution.attempt import FUNCTIONS, Attempt, prepare
from afterwards.task_types.base import Environment, TaskContext, TaskModule
from afterwards_executors import EXECUTORS
from afterwards_executors.base import End, Outcome, Work
from afterwards_executors.hosts.settings import HostSettings

pytestmark = pytest.mark.processes

MODULE = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from pathlib import Path
from pydantic import BaseModel
from afterwards import TaskContext, TaskModule, TaskType

class Payload(BaseModel):
    pass

def note(what):
    with open("notes", "a") as file:
        file.write(what + "\\n")

@asynccontextmanager
async def lifespan():
    note("tried")
    if Path("broken").exists():
        how = Path("broken").read_text()
        if how == "exit":
            sys.exit(3)
        raise ConnectionError("no bank")
    task = asyncio.current_task()
    await asyncio.sleep(0.05)
    note("entered")
    try:
        yield {"pid": os.getpid(), "loop": id(asyncio.get_running_loop())}
    finally:
        await asyncio.sleep(0)
        note("left" if task is asyncio.current_task() else "left elsewhere")

MODULE = TaskModule(lifespan=lifespan)

async def use(payload, context):
    same = context.resources["loop"] == id(asyncio.get_running_loop())
    return {"pid": context.resources["pid"], "own": os.getpid(), "same_loop": same}

def use_plainly(payload, context):
    return {"pid": context.resources["pid"], "own": os.getpid()}

ASYNC = TaskType("a-async", Payload, use)
THREAD = TaskType("a-thread", Payload, use_plainly, executor="thread")
PROCESS = TaskType("a-process", Payload, use_plainly, executor="process")
"""

Run = Callable[[], list[Outcome]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "module_with_lifespan.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["async", "thread", "process"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def run(here: Path, kind: str) -> Iterator[Run]:
    """Make some attempts at a time, in one host."""
    executor = EXECUTORS[kind](1 if kind == "process" else 5, settings(here))
    executor.start()

    def run() -> list[Outcome]:
        futures = [
            executor.submit(Work(FUNCTIONS[kind], (attempt(here, f"a-{kind}"),), 20.0))
            for _ in range(5)
        ]
        return [future.result(30) for future in futures]

    yield run
    executor.shutdown(5.0)


def environment(directory: Path) -> Environment:
    modules = ("module_with_lifespan",)
    return Environment(directory, 0, 0, 0, 0, 1_000, task_modules=modules)


def settings(directory: Path) -> HostSettings:
    return HostSettings(prepare=(prepare, (environment(directory),)))


def attempt(directory: Path, type_name: str) -> Attempt:
    return Attempt(type_name, b"{}", TaskContext("t", 1, 0, environment(directory)))


def notes(here: Path) -> list[str]:
    return (here / "notes").read_text().split()


def result(outcome: Outcome) -> Any:
    assert outcome.end is End.SUCCEEDED, outcome.error
    return json.loads(outcome.value or b"")


def test_it_is_entered_once_and_its_resources_are_there(run: Run, here: Path) -> None:
    results = [result(outcome) for outcome in run() + run()]
    assert all(one["pid"] == one["own"] for one in results)
    assert all(one.get("same_loop", True) for one in results)
    assert len({one["own"] for one in results}) == 1
    assert notes(here) == ["tried", "entered"]


def test_it_is_left_where_it_was_entered_when_the_host_ends(here: Path, kind: str) -> None:
    executor = EXECUTORS[kind](1, settings(here))
    executor.start()
    work = Work(FUNCTIONS[kind], (attempt(here, f"a-{kind}"),), 20.0)
    result(executor.submit(work).result(30))
    executor.shutdown(5.0)
    assert notes(here) == ["tried", "entered", "left"]


@pytest.mark.parametrize(
    ("how", "said"), [("raise", "ConnectionError: no bank"), ("exit", "SystemExit: 3")]
)
def test_one_that_fails_costs_its_attempts_and_is_tried_again(
    run: Run, here: Path, how: str, said: str
) -> None:
    (here / "broken").write_text(how)
    for outcome in run():
        assert (outcome.end, outcome.transient) == (End.FAILED, True)
        assert outcome.error == f"The lifespan of module_with_lifespan failed: {said}"
        assert outcome.retry_in_seconds is not None
    (here / "broken").unlink()
    assert len({result(outcome)["own"] for outcome in run()}) == 1


@pytest.mark.parametrize(
    ("lifespan", "problem"),
    [
        (7, "lifespan must be a function, not 7"),
        (lambda app: app, "lifespan must take no arguments"),
    ],
)
def test_what_is_no_lifespan_is_refused(lifespan: Any, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        TaskModule(lifespan=lifespan)


def test_a_generator_without_its_decorator_is_refused() -> None:
    async def lifespan() -> Any:
        yield

    with pytest.raises(TypeError, match="asynccontextmanager"):
        TaskModule(lifespan=lifespan)
