"""Progress on its whole way: from `run`, by its executor, to what the dispatcher tells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwards.execution.attempt import prepare
from afterwards.execution.dispatcher import Dispatcher
from afterwards.execution.executors import Executors
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import Report, Succeeded
from afterwards.task_types.base import Environment
from afterwards.task_types.description import in_process
from afterwards.task_types.modules import load, load_catalogue
from afterwards_executors import EXECUTORS
from afterwards_executors.hosts.settings import HostSettings
from tests.integration.conftest import wait_for

MODULE = """
from pydantic import BaseModel
from afterwards import TaskType

class Payload(BaseModel):
    pass

def work(payload, context):
    context.progress(0.25, "a quarter")
    return {}

async def work_async(payload, context):
    return work(payload, context)

A = TaskType("a-async", Payload, work_async)
T = TaskType("a-thread", Payload, work, executor="thread")
P = TaskType("a-process", Payload, work, executor="process")
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    (tmp_path / "module_with_progress.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield ("module_with_progress",)
    sys.modules.pop("module_with_progress", None)
    load.cache_clear()


@pytest.mark.processes
@pytest.mark.parametrize("kind", sorted(EXECUTORS))
def test_progress_arrives_before_the_report(
    tmp_path: Path, modules: tuple[str, ...], kind: str
) -> None:
    told: list[object] = []
    environment = Environment(tmp_path, 0, 0, 0, 0, 1_000, task_modules=modules)
    executor = EXECUTORS[kind](1, HostSettings(prepare=(prepare, (environment,))))
    executor.start()

    def report(report: Report) -> None:
        told.append(report)

    dispatcher = Dispatcher(
        Executors({kind: executor}, {}, ()),
        in_process(load_catalogue(modules)),
        environment,
        20.0,
        report,
        progress=lambda *progress: told.append(progress),
    )
    dispatcher.take([Claim("t", 2, f"a-{kind}", b"{}", kind, 0, 3, None)], frozenset())
    wait_for(lambda: len(told) == 2, "progress and report")
    executor.shutdown(5.0)

    assert told[0] == ("t", 2, 0.25, "a quarter")
    assert isinstance(told[1], Succeeded)
