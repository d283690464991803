"""A task as the service tells of it. Members that a later service adds are in `document`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from afterwards_client.times import optional_time


class TaskStatus(StrEnum):
    """The state of a task; the last three are final."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True if only a retry by hand leaves it."""
        return self in _FINAL


_FINAL = frozenset({TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED})


class CancelOutcome(StrEnum):
    """The outcome of a cancellation."""

    PREVENTED = "prevented"
    """It had not started, and will not."""
    STOPPED = "stopped"
    """It ran, and was stopped."""
    FINISHED = "finished"
    """It was finished, or finished first."""
    UNSTOPPABLE = "unstoppable"
    """It runs in a thread, which cannot be stopped alone: it was asked, and if it does not look,
    its host ends with it after its time limit."""
    REQUESTED = "requested"
    """It was asked, and its worker has not answered yet."""


@dataclass(frozen=True)
class Progress:
    """The progress that the running attempt has reported last."""

    fraction: float
    """0 to 1."""
    message: str | None
    at: datetime

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        at = datetime.fromisoformat(document["at"])
        return cls(float(document["fraction"]), document["message"], at)


@dataclass(frozen=True)
class KeyWait:
    """The reason why a pending task does not start: its concurrency key is full."""

    concurrency_key: str
    holders: int | None
    """The number of attempts that run under the key; None: the client's key is not told."""


@dataclass(frozen=True)
class GroupWait:
    """The reason why a task has no time to start: the tasks that it follows have not ended."""

    group: str
    """The id of the group: that of the task itself."""


@dataclass(frozen=True)
class Attempt:
    """One run of a task."""

    attempt: int
    worker: str
    started_at: datetime
    finished_at: datetime | None
    wait_seconds: float
    run_seconds: float | None
    outcome: str | None
    """`success`, `failure`, `timeout`, `lost`, `suspected`, `released`, `cancelled`; None while it
    runs."""
    error: str | None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None
    """The processor time of its process; None: many share one, or the service does not say."""
    traceback: str | None = None
    """The place where its error was raised; None: there is none, it is not kept, or was not
    asked for."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON."""
        return cls(
            attempt=document["attempt"],
            worker=document["worker"],
            started_at=datetime.fromisoformat(document["started_at"]),
            finished_at=optional_time(document["finished_at"]),
            wait_seconds=document["wait_seconds"],
            run_seconds=document["run_seconds"],
            outcome=document["outcome"],
            error=document["error"],
            peak_memory_bytes=document.get("peak_memory_bytes"),
            cpu_seconds=document.get("cpu_seconds"),
            traceback=document.get("traceback"),
        )


_DIGEST_CHARACTERS = 64


@dataclass(frozen=True)
class Artifact:
    """A file that a task has made. It never changes."""

    name: str
    size: int
    """Bytes."""
    media_type: str
    sha256: str
    """The digest of its content, in hexadecimal."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        sha256 = document["sha256"]
        if len(sha256) != _DIGEST_CHARACTERS or not sha256.isalnum():
            raise ValueError("no digest")
        return cls(document["name"], int(document["size"]), document["media_type"], sha256)


def artifacts_of(document: Mapping[str, Any]) -> tuple[Artifact, ...]:
    """The artifacts of a task's document; none if the service is older than they are."""
    return tuple(map(Artifact.of, document.get("artifacts", ())))


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """A task but for its payload and its result. Times are in UTC and aware of it."""

    id: str
    type: str
    status: TaskStatus
    error: str | None
    """The error of the last attempt; None after a success."""
    created_at: datetime
    run_at: datetime | None
    """None: it waits for a group, and for no time."""
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    """Attempts begun so far, over the whole life."""
    retries: int
    """By hand."""
    max_attempts: int
    priority: int
    progress: Progress | None
    labels: Mapping[str, str] = field(default_factory=dict)
    """The pairs it was labelled with at its submission."""
    retrying: bool = False
    """It waits for a further attempt after one that failed."""
    parent: str | None = None
    """The task that has submitted it; None: a client has."""
    group: str | None = None
    """The batch that it is a member of: the id of the task that follows that."""
    concurrency_key: str | None = None
    unique_key: str | None = None
    waiting_for: GroupWait | KeyWait | None = None
    """Set while it waits for its group, or for its concurrency key; only lists and `get` tell of
    the key."""
    redacted: bool = False
    """The client's key sees neither payloads nor results and errors: they are empty."""
    document: Mapping[str, Any] = field(repr=False, compare=False)
    """The JSON this was read from."""

    @property
    def is_finished(self) -> bool:
        """True if it has reached its final state."""
        return self.status.is_final

    @property
    def succeeded(self) -> bool:
        """True if it is finished, and well."""
        return self.status is TaskStatus.SUCCESS


@dataclass(frozen=True, kw_only=True)
class Task(_Facts):
    """A task. Times are in UTC and aware of it."""

    payload: Mapping[str, Any]
    result: Mapping[str, Any] | None
    artifacts: tuple[Artifact, ...] = ()
    """The files that its successful attempt has made, by name."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is no task.
        """
        return cls(**_members(document))


@dataclass(frozen=True, kw_only=True)
class TaskSummary(_Facts):
    """A task in a list, with the beginning of its payload only."""

    digest: str
    """The first 120 characters of the payload's JSON."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON; raises what `Task.of` does."""
        return cls(**_facts(document), digest=document["digest"] or "")


@dataclass(frozen=True, kw_only=True)
class TaskDetails(Task):
    """A task with its history, as asked for by its id."""

    executor: str
    """`async`, `thread` or `process`."""
    timeout_seconds: float | None
    """Its own limit for an attempt, if it has one."""
    deadline: datetime | None
    idempotency_key: str | None
    schedule: str | None
    """The schedule that made it."""
    cancel_requested: bool
    children: int = 0
    """The number of tasks that it has submitted and that are kept."""
    history: tuple[Attempt, ...]
    """Oldest first."""
    log_lines: tuple[str, ...] | None = None
    """The output of the last attempt that has ended, up to 64 lines and 8 KiB; None: it was not
    asked for."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from JSON; raises what `Task.of` does."""
        return cls(
            **_members(document),
            executor=document["executor"],
            timeout_seconds=document["timeout_seconds"],
            deadline=optional_time(document["deadline"]),
            idempotency_key=document["idempotency_key"],
            schedule=document["schedule"],
            cancel_requested=document["cancel_requested"],
            children=document.get("children", 0),
            history=tuple(Attempt.of(one) for one in document["history"]),
            log_lines=tuple(document["log_lines"]) if "log_lines" in document else None,
        )


def _members(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_facts(document),
        "payload": {} if document.get("redacted") else document["payload"],
        "result": document["result"],
        "artifacts": artifacts_of(document),
    }


def _wait_of(document: Mapping[str, Any] | None) -> GroupWait | KeyWait | None:
    if document is None:
        return None
    if "group" in document:
        return GroupWait(document["group"])
    return KeyWait(document["concurrency_key"], document["holders"])


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    progress = document["progress"]
    return {
        "id": document["id"],
        "type": document["type"],
        "status": TaskStatus(document["status"]),
        "error": document["error"],
        "created_at": datetime.fromisoformat(document["created_at"]),
        "run_at": optional_time(document["run_at"]),
        "started_at": optional_time(document["started_at"]),
        "finished_at": optional_time(document["finished_at"]),
        "attempts": document["attempts"],
        "retries": document["retries"],
        "max_attempts": document["max_attempts"],
        "priority": document["priority"],
        "progress": None if progress is None else Progress.of(progress),
        "labels": document.get("labels", {}),
        "retrying": document.get("retrying", False),
        "parent": document.get("parent"),
        "group": document.get("group"),
        "concurrency_key": document.get("concurrency_key"),
        "unique_key": document.get("unique_key"),
        "waiting_for": _wait_of(document.get("waiting_for")),
        "redacted": document.get("redacted", False),
        "document": document,
    }
