"""A real service with task types of somebody's own."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afterwards.lifecycle import Task
from afterwards.registry.process.lock import holder_of
from afterwards.registry.process.manager import connect
from afterwards.registry.protocol.requests import Add, Cancel, Get, Request
from tests.integration.conftest import Service, started


class OwnTypesService(Service):
    """A service whose tasks are handed to its registry, without any route."""

    def add(self, type_name: str, executor: str, payload: Mapping[str, Any]) -> str:
        """Have a task accepted."""
        now = time.time()
        body = json.dumps(payload).encode()
        task = Task(str(uuid.uuid4()), type_name, body, executor, created_at=now, run_at=now)
        assert self._ask(Add(task)) is None
        return task.id

    def cancel(self, task_id: str) -> None:
        """Have it cancelled, or its worker asked to stop it."""
        assert isinstance(self._ask(Cancel(task_id)), Task)

    def task(self, task_id: str) -> Task:
        """The whole record."""
        task = self._ask(Get(task_id))
        assert isinstance(task, Task), task
        return task

    def all_final(self, task_ids: Sequence[str]) -> list[Task] | None:
        """The whole records, once all of these tasks have ended."""
        tasks = self._ask_all([Get(task_id) for task_id in task_ids])
        return tasks if all(task.state.is_final for task in tasks) else None

    def _ask(self, request: Request) -> Any:
        return self._ask_all([request])[0]

    def _ask_all(self, requests: Sequence[Request]) -> Any:
        holder = holder_of(self.data_dir)
        assert holder is not None, "no registry runs"
        return connect(holder.endpoint).exchange(None, 0, requests).answers


@contextmanager
def serving(home: Path, directory: Path, **settings: str) -> Iterator[OwnTypesService]:
    """A running service that was started in `directory` and has its files in `home`."""
    service = OwnTypesService(home, **settings)
    service.directory = directory
    with started(service):
        yield service
