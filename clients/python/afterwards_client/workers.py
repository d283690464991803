"""The processes of the service, and the call that lists them. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from afterwards_client.calls import Call
from afterwards_client.statistics import Slots
from afterwards_client.times import optional_time


@dataclass(frozen=True, kw_only=True)
class Host:
    """A child process of a worker that runs attempts."""

    pid: int
    kind: str
    """The executor that it belongs to."""
    generation: int
    """That of the task code that it runs."""
    started_at: datetime | None
    memory_bytes: int | None
    attempts: int
    """So many run in it."""
    stuck: int
    """So many of them go on after their time limit."""
    state: str
    """`running`, `leaving` or `suspects`."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        return cls(
            pid=document["pid"],
            kind=document["kind"],
            generation=document["generation"],
            started_at=optional_time(document["started_at"]),
            memory_bytes=document["memory_bytes"],
            attempts=document["attempts"],
            stuck=document["stuck"],
            state=document["state"],
        )


@dataclass(frozen=True, kw_only=True)
class RunningAttempt:
    """An attempt that runs."""

    task_id: str
    type: str
    attempt: int
    started_at: datetime
    host_pid: int | None
    """None: it runs in the worker itself, or its worker has not said yet."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        return cls(
            task_id=document["task_id"],
            type=document["type"],
            attempt=document["attempt"],
            started_at=datetime.fromisoformat(document["started_at"]),
            host_pid=document["host_pid"],
        )


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process."""

    id: str
    """As in the history of tasks."""
    pid: int
    started_at: datetime | None
    generation: int
    """That of the task code that its new hosts run."""
    draining: bool
    """It takes no more tasks, because it stops."""
    memory_bytes: int | None
    """Without its hosts. None where the machine does not tell."""
    lease_seconds_left: float | None
    """In so many seconds it is ended unless it is heard; None: never."""
    slots: Mapping[str, Slots]
    hosts: Sequence[Host]
    running: Sequence[RunningAttempt]
    """Those that have run longest, up to 100."""
    running_total: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        return cls(
            id=document["id"],
            pid=document["pid"],
            started_at=optional_time(document["started_at"]),
            generation=document["generation"],
            draining=document["draining"],
            memory_bytes=document["memory_bytes"],
            lease_seconds_left=document["lease_seconds_left"],
            slots=Slots.by_kind(document["slots"]),
            hosts=tuple(Host.of(one) for one in document["hosts"]),
            running=tuple(RunningAttempt.of(one) for one in document["running"]),
            running_total=document["running_total"],
        )


@dataclass(frozen=True)
class RegistryProcess:
    """The registry process."""

    pid: int
    uptime_seconds: float
    memory_bytes: int | None


@dataclass(frozen=True)
class Workers:
    """All workers, and the registry process."""

    workers: Sequence[Worker]
    registry: RegistryProcess
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        registry = document["registry"]
        return cls(
            tuple(Worker.of(one) for one in document["workers"]),
            RegistryProcess(registry["pid"], registry["uptime_seconds"], registry["memory_bytes"]),
            document,
        )


def listing() -> Call[Workers]:
    """List the processes that the service runs tasks with."""
    return Call("GET", "/workers", Workers.of)
