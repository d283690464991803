"""The API, call by call: which request to send, and what its answer says. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx

from afterwards_client.bulk import BulkCancel, BulkRetry
from afterwards_client.errors import (
    InvalidArgument,
    InvalidKey,
    UnexpectedAnswer,
    api_error,
    shortened,
)
from afterwards_client.retries import retry_after_seconds
from afterwards_client.tasks import CancelOutcome, NewTask, Task, TaskDetails

T = TypeVar("T")

MAX_KEY_CHARACTERS = 255

PAGE_SIZE = 500
"""The largest that the service gives."""

UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""Errors of reading an answer that is not this API's; the last two come of huge numbers and
depths."""

BROKEN: Final = (httpx.DecodingError, httpx.TooManyRedirects, UnicodeError)
"""Errors that httpx raises for an answer, and not for none. It decodes a name in `Location`."""

_CANCEL_SECONDS = 5.0
"""So long the service waits for the worker that runs the task."""

_BULK_SECONDS = 60.0
"""So long the service may be about ten thousand tasks, payloads validated anew and all."""

_SHORTEST_SECONDS = 0.01
"""The least time limit: none at all would be no time limit but an error of the socket."""

_SILENCE_SECONDS = 45.0
"""A stream has a heartbeat every 15 s; after three are missing, nobody is there any more."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its answer."""

    method: str
    path: str
    read: Callable[[Any], T]
    """From the answer's JSON. Raises one of `UNREADABLE` if it is something else."""
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    repeatable: bool = True
    """True if sending it twice does no more than sending it once."""
    wait_seconds: float = 0.0
    """The additional time that the answer may take."""
    limit_seconds: float | None = None
    """Connecting, sending and the answer may each take no longer than that, whatever is usual."""
    stream: bool = False

    def timeout(self, usual: httpx.Timeout) -> httpx.Timeout:
        """The time limits, given what they are for a call that is answered at once."""
        read = usual.read
        if self.stream:
            read = _SILENCE_SECONDS
        elif read is not None:
            read += self.wait_seconds
        limits = {"connect": usual.connect, "read": read, "write": usual.write, "pool": usual.pool}
        if self.limit_seconds is not None:
            most = max(self.limit_seconds, _SHORTEST_SECONDS)
            limits = {name: min(limit or most, most) for name, limit in limits.items()}
        return httpx.Timeout(**limits)

    def result(self, response: httpx.Response) -> T:
        """The value that the answer holds.

        Raises:
            ApiError: no.
            UnexpectedAnswer: it is not this API's.
        """
        check(response)
        try:
            return self.read(response.json())
        except UNREADABLE as error:
            problem = f"{type(error).__name__}: {error} in the answer to {self.method} {self.path}"
            raise UnexpectedAnswer(str(response.url), problem) from error


@dataclass(frozen=True)
class Cancellation:
    """The outcome of a cancellation, and the task as it is now."""

    outcome: CancelOutcome
    task: Task


@dataclass(frozen=True)
class Page:
    """Some tasks of a list, and where the next are."""

    tasks: Sequence[Task]
    next: str | None


def check(response: httpx.Response) -> None:
    """Raise the ApiError of an answer that is one, UnexpectedAnswer for a redirection."""
    if response.is_success:
        return
    if not response.is_error:
        raise UnexpectedAnswer(str(response.url), f"{response.status_code}, not the service's")
    try:
        problem = response.json()
    except UNREADABLE:
        problem = None
    if not isinstance(problem, dict):
        # Not from the service, but from something before it.
        problem = {"title": f"{response.status_code} {response.reason_phrase}".strip()}
    raise api_error(
        response.status_code, problem, retry_after_seconds=retry_after_seconds(response)
    )


def submit(task: NewTask, key: str) -> Call[Task]:
    """Submit a task; under its key it is accepted once, however often it is sent."""
    headers = {"Idempotency-Key": _quoted(key)}
    return Call("POST", "/tasks", Task.of, body=task.body(), headers=headers)


def submit_many(tasks: Sequence[NewTask], key: str) -> Call[list[Task]]:
    """Submit tasks, all or none; the key is that of the whole."""
    return Call(
        "POST",
        "/tasks/batch",
        _tasks,
        body={"tasks": [task.body() for task in tasks]},
        headers={"Idempotency-Key": _quoted(key)},
    )


def get(task_id: str, wait_seconds: int = 0, *, logs: bool = False) -> Call[TaskDetails]:
    """Look at a task; with a wait (RFC 7240), not before it is finished or the time is up."""
    return Call(
        "GET",
        f"/tasks/{_segment(task_id)}",
        TaskDetails.of,
        params={"logs": "1"} if logs else {},
        headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else {},
        wait_seconds=wait_seconds,
    )


def page(
    filters: Mapping[str, str | datetime | None], limit: int, cursor: str | None
) -> Call[Page]:
    """List tasks, newest first."""
    said = {name: str(value) for name, value in _said(filters).items()}
    said |= {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    return Call("GET", "/tasks", _page, params=said)


def retry(task_id: str, **changes: Any) -> Call[Task]:
    """Run a failed or cancelled task again, with these members if any is not None."""
    path = f"/tasks/{_segment(task_id)}/retry"
    return Call("POST", path, Task.of, body=_said(changes) or None, repeatable=False)


def change(task_id: str, **changes: Any) -> Call[Task]:
    """Give a scheduled task those of these members that are not None.

    Raises:
        InvalidArgument: all are.
    """
    body = _said(changes)
    path = f"/tasks/{_segment(task_id)}"
    if not body:
        problem = "it has to say something: a payload, a type or a time"
        raise InvalidArgument(f"change of task {shortened(str(task_id))}", problem)
    return Call("PATCH", path, Task.of, body=body)


def cancel(task_id: str) -> Call[Cancellation]:
    """Cancel a task that is not finished."""
    path = f"/tasks/{_segment(task_id)}/cancel"
    return Call("POST", path, _cancellation, repeatable=False, wait_seconds=_CANCEL_SECONDS)


def retry_many(**selection: Any) -> Call[BulkRetry]:
    """Run all again that fit the members of it that are not None."""
    return _bulk("/tasks/retry", BulkRetry.of, selection)


def cancel_many(**selection: Any) -> Call[BulkCancel]:
    """Cancel all that fit the members of it that are not None."""
    return _bulk("/tasks/cancel", BulkCancel.of, selection)


def events(
    task_id: str | None, filters: Mapping[str, str | datetime | None], last_event_id: str
) -> Call[None]:
    """Open a stream of events: of one task, or of all that the filters let through."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    path = "/events" if task_id is None else f"/tasks/{_segment(task_id)}/events"
    params = {name: str(value) for name, value in _said(filters).items()}
    return Call("GET", path, lambda _: None, params=params, headers=headers, stream=True)


def _bulk(path: str, read: Callable[[Any], T], selection: Mapping[str, Any]) -> Call[T]:
    body = _said(selection)
    if isinstance(body.get("status"), str):
        body["status"] = [body["status"]]
    only_counts = body.get("dry_run") is True
    return Call("POST", path, read, body=body, repeatable=only_counts, wait_seconds=_BULK_SECONDS)


def _said(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None, as JSON has them."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in members.items()
        if value is not None
    }


def _quoted(key: str) -> str:
    """A string of RFC 8941.

    Raises:
        InvalidKey: it cannot be one.
    """
    if not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidKey(key)
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _segment(task_id: str) -> str:
    """One segment of a path.

    Raises:
        InvalidArgument: it cannot be one. Dots alone are taken out even when encoded (RFC 3986,
            6.2.2), and servers decode a slash before they look for what a path means.
    """
    text = str(task_id)
    if text in ("", ".", "..") or "/" in text or not _is_unicode(text):
        problem = "it must not be empty, '.' or '..', nor have a slash or a lone surrogate"
        raise InvalidArgument(f"task id {shortened(text)!r}", problem)
    return quote(text, safe="")


def _is_unicode(text: str) -> bool:
    """True if UTF-8 can encode it: half of a surrogate pair is no character (RFC 3629, 3)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _tasks(document: Any) -> list[Task]:
    return [Task.of(one) for one in document["tasks"]]


def _page(document: Any) -> Page:
    return Page(_tasks(document), document["next"])


def _cancellation(document: Any) -> Cancellation:
    return Cancellation(CancelOutcome(document["outcome"]), Task.of(document["task"]))
