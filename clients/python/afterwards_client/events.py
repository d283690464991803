"""The events of tasks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from afterwards_client.event_stream import Message
from afterwards_client.tasks import Task, TaskStatus


@dataclass(frozen=True, kw_only=True)
class StateEvent:
    """A task has come into a state."""

    id: str
    """The position in the stream: what to resume after."""
    task_id: str
    type: str
    status: TaskStatus
    at: datetime
    reason: str | None
    attempt: int


@dataclass(frozen=True, kw_only=True)
class ProgressEvent:
    """A running attempt tells how far it is."""

    id: str
    task_id: str
    type: str
    at: datetime
    attempt: int
    fraction: float
    message: str | None


@dataclass(frozen=True, kw_only=True)
class TaskEvent:
    """The whole task: the first event of a task's stream, and the first after some were missed."""

    id: str
    task: Task


@dataclass(frozen=True, kw_only=True)
class ResetEvent:
    """Events were missed; this is how many tasks there are now, by type and status."""

    id: str
    counts: Mapping[str, Mapping[str, int]]


Event = StateEvent | ProgressEvent | TaskEvent | ResetEvent


def event_of(message: Message) -> Event | None:
    """Read an event; None for a kind that a later service has added.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, RecursionError: it is no event of this API.
    """
    read = _READERS.get(message.event)
    return None if read is None else read(message.id, json.loads(message.data))


def _state(position: str, data: Mapping[str, Any]) -> StateEvent:
    return StateEvent(
        id=position,
        task_id=data["task_id"],
        type=data["type"],
        status=TaskStatus(data["status"]),
        at=datetime.fromisoformat(data["at"]),
        reason=data["reason"],
        attempt=data["attempt"],
    )


def _progress(position: str, data: Mapping[str, Any]) -> ProgressEvent:
    return ProgressEvent(
        id=position,
        task_id=data["task_id"],
        type=data["type"],
        at=datetime.fromisoformat(data["at"]),
        attempt=data["attempt"],
        fraction=float(data["fraction"]),
        message=data["message"],
    )


def _task(position: str, data: Mapping[str, Any]) -> TaskEvent:
    return TaskEvent(id=position, task=Task.of(data))


def _reset(position: str, data: Mapping[str, Any]) -> ResetEvent:
    return ResetEvent(id=position, counts=data["counts"])


_READERS: Mapping[str, Callable[[str, Any], Event]] = {
    "state": _state,
    "progress": _progress,
    "task": _task,
    "reset": _reset,
}
