"""The needs of an exchange, as far as its requests say: read and locked in one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from afterwards.lifecycle import Task
from afterwards.registry.protocol.requests import (
    Add,
    AddAll,
    Amend,
    Beat,
    Cancel,
    DeclareSchedules,
    Delete,
    DeleteSchedule,
    Held,
    Join,
    PauseSchedule,
    Progress,
    PutSchedule,
    Report,
    Request,
    Retry,
    RunNow,
    RunSchedule,
    SubmitChildren,
    Succeeded,
)
from afterwards.registry.protocol.webhook_requests import ReplayWebhook, SendTest

_REPORTS: Final = frozenset(get_args(Report))
_OF_ONE_TASK: Final = _REPORTS | {Amend, Cancel, Delete, Progress, Retry, RunNow, SubmitChildren}


@dataclass
class Needs:
    """The rows and sums that the requests need."""

    ids: set[str] = field(default_factory=set)
    """Tasks that they change, or may."""
    known: list[str] = field(default_factory=list)
    """Tasks that may have been accepted before."""
    unknown: set[str] = field(default_factory=set)
    """New tasks that are not looked for by their ids."""
    idempotency_keys: list[str] = field(default_factory=list)
    unique_keys: list[tuple[str, str]] = field(default_factory=list)
    """Keys and their owners; an empty one is none."""
    concurrency_keys: set[tuple[str, str]] = field(default_factory=set)
    """Types and keys of new tasks."""
    new: int = 0
    """The most tasks that they bring."""
    reports: int = 0
    held: Sequence[Held] | None = None
    """The claims that the worker lists; None: it lists none now."""
    needs_room: bool = False

    @classmethod
    def of(cls, requests: Iterable[Request]) -> Needs:
        """The needs of these requests together."""
        needs = cls()
        for request in requests:
            kind = type(request)
            if kind in _OF_ONE_TASK:
                needs.ids.add(request.task_id)  # type: ignore[union-attr] # all of the set have one
            if kind in _REPORTS:
                needs.reports += 1
            needs._add_rest(request)
        return needs

    def _add_rest(self, request: Request) -> None:
        match request:
            case Add():
                self._add_new([request.task], again=request.again)
            case AddAll():
                self._add_new(request.tasks, again=request.again)
            case SubmitChildren():
                self._add_new(request.tasks, again=True)
            case Succeeded() if request.children:
                self._add_new(request.children, again=False)
            case Join() | Beat():
                self.held = request.held
            case Retry() | Amend():
                self.needs_room = True
            case PutSchedule() | PauseSchedule() | DeleteSchedule() | DeclareSchedules():
                # The sums of schedules are a part of it.
                self.needs_room = True
            case RunSchedule() | SendTest():
                self.known.append(request.task_id)
                self.new += 1
                self.needs_room = True
            case ReplayWebhook():
                self.ids.add(request.task_id)

    def _add_new(self, tasks: Sequence[Task], *, again: bool) -> None:
        self.new += len(tasks)
        self.needs_room = True
        for task in tasks:
            if again:
                self.known.append(task.id)
            else:
                self.unknown.add(task.id)
            key = task.with_key_of_its_owner().idempotency_key
            if key is not None:
                self.idempotency_keys.append(key)
            if task.unique_key is not None:
                self.unique_keys.append((task.unique_key, task.owner or ""))
            if task.concurrency_key is not None:
                self.concurrency_keys.add((task.type, task.concurrency_key))
