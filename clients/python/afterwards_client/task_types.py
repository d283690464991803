"""Task types, and the calls about them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from afterwards_client.calls import Call, segment


@dataclass(frozen=True)
class RateLimit:
    """The number of attempts that may start in a period."""

    count: int
    period_seconds: float


@dataclass(frozen=True, kw_only=True)
class TaskType:
    """A kind of work, and how many tasks of it there are."""

    name: str
    executor: str
    """`async`, `thread` or `process`."""
    max_attempts: int
    """For tasks that do not set their own, as is the time limit of an attempt."""
    timeout_seconds: float
    max_concurrency: int | None
    """Attempts at once, in all workers together; None: no limit."""
    rate_limit: RateLimit | None
    paused: bool
    """Its tasks are accepted and wait."""
    payload_schema: Mapping[str, Any]
    """JSON Schema of the payload."""
    tasks: Mapping[str, int]
    """The numbers of stored tasks, by status."""
    concurrency_per_key: int = 1
    """Attempts at once, in all workers together, at tasks with the same `concurrency_key`."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError: it is no task type.
        """
        rate = document["rate_limit"]
        return cls(
            name=document["name"],
            executor=document["executor"],
            max_attempts=document["max_attempts"],
            timeout_seconds=document["timeout_seconds"],
            max_concurrency=document["max_concurrency"],
            rate_limit=None if rate is None else RateLimit(rate["count"], rate["period_seconds"]),
            paused=document["paused"],
            payload_schema=document["payload_schema"],
            tasks=document["tasks"],
            concurrency_per_key=document.get("concurrency_per_key", 1),
            document=document,
        )


def listing() -> Call[list[TaskType]]:
    """All task types."""
    return Call("GET", "/task-types", lambda found: [TaskType.of(o) for o in found["task_types"]])


def get(name: str) -> Call[TaskType]:
    """Look at a task type."""
    return Call("GET", _type(name), TaskType.of)


def pause(name: str) -> Call[TaskType]:
    """Start no attempts of this type."""
    return Call("POST", f"{_type(name)}/pause", TaskType.of)


def resume(name: str) -> Call[TaskType | None]:
    """Start attempts of this type again."""

    def read(document: Any) -> TaskType | None:
        return None if document is None else TaskType.of(document)

    return Call("POST", f"{_type(name)}/resume", read)


def _type(name: str) -> str:
    return f"/task-types/{segment(name, 'name of a task type')}"
