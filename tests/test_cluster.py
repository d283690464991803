"""The start of a service with a Dask cluster, as far as no cluster is needed for that."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from afterwards import cluster
from afterwards.assembly import live_catalogue
from afterwards.cluster import UNFIT, require_cluster
from afterwards.errors import ConfigurationError
from afterwards.settings import Settings
from afterwards.task_types.base import TaskContext, TaskType
from afterwards.task_types.description import decoded, describe, encoded

ADDRESS = "tcp://127.0.0.1:9"

Answer = Callable[[int, str], None]


class Job(BaseModel):
    pass


def run(payload: Job, context: TaskContext) -> dict[str, int]:
    return {}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("AFTERWARDS_DASK_SCHEDULER", ADDRESS)
    return Settings.load()


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """Has the child that asks end with this status and line."""

    def answer(status: int, line: str) -> None:
        ended = subprocess.CompletedProcess[str]([], status, stdout=line, stderr="")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)

    return answer


def test_a_service_without_a_cluster_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("it asks")

    monkeypatch.setattr(subprocess, "run", fail)
    require_cluster(Settings.load())


@pytest.mark.processes
def test_a_service_without_a_cluster_loads_nothing_of_it() -> None:
    program = (
        "import sys, afterwards.main, afterwards.web_worker\n"
        "print([n for n in sys.modules if 'distributed' in n or '.cluster' in n])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "['afterwards.cluster']"


def test_a_cluster_needs_its_extra(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'afterwards\[dask\]'"):
        require_cluster(settings)


def test_a_scheduler_that_is_unfit_is_named_with_the_reason(
    settings: Settings, answer: Answer
) -> None:
    answer(UNFIT, "it runs tasks again\n")
    with pytest.raises(ConfigurationError) as caught:
        require_cluster(settings)
    assert str(caught.value) == "AFTERWARDS_DASK_SCHEDULER: it runs tasks again"


def test_a_scheduler_that_cannot_be_reached_is_no_mistake(
    settings: Settings, answer: Answer
) -> None:
    answer(1, "refused")
    with capture_logs() as lines:
        require_cluster(settings)
    (line,) = lines
    assert (line["scheduler"], line["reason"]) == (ADDRESS, "refused")


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWARDS_DASK_SCHEDULER", "scheduler:8786")
    with pytest.raises(ConfigurationError, match="like tcp://scheduler:8786"):
        Settings.load()


@pytest.mark.parametrize(("moves", "executor"), [("true", "dask"), ("false", "process")])
def test_types_of_modules_that_say_process_are_moved_where_that_is_set(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, moves: str, executor: str
) -> None:
    monkeypatch.setenv("AFTERWARDS_DASK_TAKES_PROCESSES", moves)
    theirs = describe(TaskType("theirs", Job, run, executor="process"), "shop.tasks")
    ours = describe(TaskType("ours", Job, run, executor="process"))
    threads = describe(TaskType("threads", Job, run, executor="thread"), "shop.tasks")
    catalogue = live_catalogue(
        Settings.load(), {"theirs": theirs, "ours": ours, "threads": threads}
    )

    found = {name: one.executor for name, one in catalogue.items()}
    assert found == {"theirs": executor, "ours": "process", "threads": "thread"}


def test_a_placement_is_part_of_a_description() -> None:
    task_type = TaskType(
        "a", Job, run, executor="dask", dask_resources={"GPU": 1}, dask_workers=["b"]
    )
    description = decoded(encoded(describe(task_type, "shop.tasks")))
    assert (description.dask_resources, description.dask_workers) == ({"GPU": 1}, ("b",))
