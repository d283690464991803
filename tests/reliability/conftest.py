"""A service whose tasks can be watched, held and made to do harm."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from afterwards.lifecycle import Task
from afterwards.registry.process.lock import holder_of
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.requests import Add, Get, Request
from tests.integration.conftest import PATIENCE_SECONDS, Service, started, wait_for

SCRIPT = Path(__file__).with_name("faulty_service.py")
MODULES = SCRIPT.with_name("modules")
STALL = signal.SIGRTMIN + 1
"""Holds up a worker's event loop for 12 s: `faulty_service.py` has a handler."""
EXECUTORS = {
    "wait": "async",
    "wait-thread": "thread",
    "wait-process": "process",
    "wait-deaf": "process",
    "file": "async",
    "die": "process",
    "poison": "async",
    "exit": "async",
    "nap": "async",
    "nap-thread": "thread",
    "daemon": "thread",
}


class Mark(NamedTuple):
    """A line of the trace that the tasks write."""

    word: str
    """begin, end, error or cut"""
    task_id: str
    attempt: int
    pid: int
    parent: int
    at: float
    """`time.monotonic`, which is the same in all processes."""
    grandparent: int
    """The master of a pool child's worker. 0: the parent had ended."""

    @classmethod
    def parse(cls, line: str) -> Mark:
        word, task_id, attempt, pid, parent, at, grandparent = line.split()
        return cls(word, task_id, int(attempt), int(pid), int(parent), float(at), int(grandparent))


def read_trace(path: Path) -> list[Mark]:
    if not path.exists():
        return []
    return [Mark.parse(line) for line in path.read_text().splitlines()]


class FaultyService(Service):
    """A service with the task types of `modules/harmful.py`."""

    command: tuple[str, ...] = (sys.executable, str(SCRIPT), "serve")

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory, **{"task_modules": "harmful", **settings})
        self.set_plain(PYTHONPATH=str(MODULES))
        self.trace_file = directory / "trace"
        self.gate = directory / "gate"
        self._environment["TRACE"] = str(self.trace_file)

    # -- tasks that no route accepts ---------------------------------------------------------------

    def add(self, type_name: str, payload: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Have the registry accept a task; without a payload it waits at the gate."""
        now = time.time()
        body = {"gate": str(self.gate)} if payload is None else payload
        task = Task(
            id=str(uuid.uuid4()),
            type=type_name,
            payload=json.dumps(body).encode(),
            executor=EXECUTORS[type_name],
            created_at=now,
            run_at=now,
            **fields,
        )
        answer = self.ask(Add(task))
        assert answer is None, answer
        return task.id

    def task(self, task_id: str) -> Task:
        """The whole record."""
        task = self.ask(Get(task_id))
        assert isinstance(task, Task), task
        return task

    def tasks(self, task_ids: Sequence[str]) -> list[Task | None]:
        """The records; None for an id that is not known."""
        answers: list[Any] = []
        for first in range(0, len(task_ids), 1_000):
            answers += self.ask_all([Get(i) for i in task_ids[first : first + 1_000]])
        return [answer if isinstance(answer, Task) else None for answer in answers]

    def ask(self, request: Request) -> Any:
        return self.ask_all([request])[0]

    def ask_all(self, requests: Sequence[Request]) -> Sequence[Any]:
        holder = holder_of(self.data_dir)
        assert holder is not None, "no registry runs"
        return connect(holder.endpoint).exchange(None, 0, requests).answers

    def open_gate(self) -> None:
        self.gate.touch()

    def ended(self, task_id: str, seconds: float = PATIENCE_SECONDS) -> Task:
        """The task's record as soon as it is finished."""
        self.finished(task_id, seconds)
        return self.task(task_id)

    def all_ended(self, task_ids: Sequence[str], seconds: float = PATIENCE_SECONDS) -> list[Task]:
        """The records of many tasks as soon as all are finished."""

        def find() -> list[Task] | None:
            tasks = [task for task in self.tasks(task_ids) if task and task.state.is_final]
            return tasks if len(tasks) == len(task_ids) else None

        return wait_for(find, f"{len(task_ids)} tasks finished", seconds)

    # -- what the tasks have seen ------------------------------------------------------------------

    def trace(self) -> list[Mark]:
        return read_trace(self.trace_file)

    def begun(self, task_id: str, attempt: int, seconds: float = PATIENCE_SECONDS) -> Mark:
        """The beginning of an attempt, waited for."""

        def find() -> Mark | None:
            for mark in self.trace():
                if (mark.word, mark.task_id, mark.attempt) == ("begin", task_id, attempt):
                    return mark
            return None

        return wait_for(find, f"attempt {attempt} of {task_id} begun", seconds)

    def beginnings(self, task_id: str) -> int:
        return sum(mark[:2] == ("begin", task_id) for mark in self.trace())

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def log_text(self) -> str:
        return self.log_file.read_text()


def kill(pid: int, number: int) -> float:
    """Send a signal; gives the time of it."""
    at = time.monotonic()
    os.kill(pid, number)
    return at


NewService = Callable[..., FaultyService]


@pytest.fixture
def new_service(tmp_path: Path) -> Iterator[NewService]:
    """Makes services with settings of their own, not started; kills what is left of them."""
    made: list[FaultyService] = []

    def make(**settings: str) -> FaultyService:
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(FaultyService(directory, **settings))
        return made[-1]

    yield make
    for service in made:
        service.kill_everything()
        service.client.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyService]:
    """A running service with few slots, shared by a module's tests."""
    with started(FaultyService(tmp_path_factory.mktemp("service"), thread_slots="1")) as service:
        yield service
        service.open_gate()
