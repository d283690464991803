"""A registry as one expects of a shared dictionary: a read-only mapping of ids to tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from afterwards.errors import AfterwardsError, TaskNotFound
from afterwards.lifecycle import Task
from afterwards.registry.protocol.answers import Reply
from afterwards.registry.protocol.base import Worker
from afterwards.registry.protocol.requests import Counts, Find, Get, Request

PAGE_TASKS: Final = 500


class TaskMapping(Mapping[str, Task]):
    """`registry[task_id]`, `len(registry)`, iteration from the newest task to the oldest.

    All stored tasks, finished ones included. Tasks that come during an iteration are not shown.
    """

    @abstractmethod
    def exchange(
        self, worker: Worker | None, connection: int, requests: Sequence[Request]
    ) -> Reply:
        """See `Registry.exchange`."""

    def _ask(self, request: Request) -> Any:
        (answer,) = self.exchange(None, 0, [request]).answers
        if isinstance(answer, AfterwardsError):
            raise answer
        return answer

    def __getitem__(self, task_id: str) -> Task:
        try:
            task: Task = self._ask(Get(task_id))
        except TaskNotFound:
            raise KeyError(task_id) from None
        return task

    def __iter__(self) -> Iterator[str]:
        before: int | None = None
        while True:
            page = self._ask(Find(limit=PAGE_TASKS, before=before))
            yield from (task.id for task in page.tasks)
            before = page.next
            if before is None:
                return

    def __len__(self) -> int:
        return sum(self._ask(Counts()).values())
