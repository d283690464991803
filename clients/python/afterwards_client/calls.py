"""The API, call by call: which request to send, and what its answer says. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx

from afterwards_client.errors import (
    InvalidArgument,
    InvalidKey,
    UnexpectedAnswer,
    api_error,
    shortened,
)
from afterwards_client.groups import Batch, CancelledChildren, Group
from afterwards_client.new_task import NewTask
from afterwards_client.retries import retry_after_seconds
from afterwards_client.tasks import CancelOutcome, Task, TaskDetails

T = TypeVar("T")

MAX_KEY_CHARACTERS = 255

UNREADABLE: Final = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""Errors of reading an answer that is not this API's; the last two come of huge numbers and
depths."""

BROKEN: Final = (httpx.DecodingError, httpx.TooManyRedirects, UnicodeError)
"""Errors that httpx raises for an answer, and not for none. It decodes a name in `Location`."""

STREAMED: Final = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
"""The statuses of answers that are read bit by bit."""

_CANCEL_SECONDS = 5.0
"""So long the service waits for the worker that runs the task."""

_CHILDREN_SECONDS = 60.0
"""So much longer it may take to cancel the ten thousand tasks that one may have below it."""

_SHORTEST_SECONDS = 0.01
"""The least time limit: none at all would be no time limit but an error of the socket."""

_SILENCE_SECONDS = 45.0
"""A stream has a heartbeat every 15 s; after three are missing, the service is gone."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and how to read its answer."""

    method: str
    path: str
    read: Callable[[Any], T]
    """From the answer's JSON, or None if it has no content. Raises one of `UNREADABLE` if it is
    something else."""
    params: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    repeatable: bool = True
    """True if sending it twice does no more than sending it once."""
    done_status: int | None = None
    """The refusal that says, of a request that is sent again, that it was done before."""
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
            has_content = response.status_code != HTTPStatus.NO_CONTENT
            return self.read(response.json() if has_content else None)
        except UNREADABLE as error:
            problem = f"{type(error).__name__}: {error} in the answer to {self.method} {self.path}"
            raise UnexpectedAnswer(str(response.url), problem) from error


@dataclass(frozen=True)
class Cancellation:
    """The outcome of a cancellation, and the task as it is now."""

    outcome: CancelOutcome
    task: Task
    children: CancelledChildren | None = None
    """The tasks that belong to it; None: they were not asked for."""


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


def submit_many(
    tasks: Sequence[NewTask], key: str, then: NewTask | None = None, on: str | None = None
) -> Call[Batch]:
    """Submit tasks, all or none; the key is that of the whole.

    Raises:
        InvalidArgument: `on` is given, and no task that follows.
    """
    if then is None and on is not None:
        problem = "no task follows; give it as `then`"
        raise InvalidArgument(f"condition on={shortened(str(on))!r}", problem)
    following = None if then is None else then.body() | said({"on": on})
    return Call(
        "POST",
        "/tasks/batch",
        Batch.of,
        body=said({"tasks": [task.body() for task in tasks], "then": following}),
        headers={"Idempotency-Key": _quoted(key)},
    )


def group(group_id: str) -> Call[Group]:
    """Look at the group that a task follows."""
    return Call("GET", f"/groups/{segment(group_id, 'group id')}", Group.of)


def get(
    task_id: str, wait_seconds: int = 0, *, logs: bool = False, tracebacks: bool = False
) -> Call[TaskDetails]:
    """Look at a task; with a wait (RFC 7240), not before it is finished or the time is up."""
    wanted = {"logs": logs, "tracebacks": tracebacks}
    return Call(
        "GET",
        task_path(task_id),
        TaskDetails.of,
        params={name: "1" for name, is_wanted in wanted.items() if is_wanted},
        headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else {},
        wait_seconds=wait_seconds,
    )


def retry(task_id: str, **changes: Any) -> Call[Task]:
    """Run a failed or cancelled task again, with these members if any is not None."""
    path = f"{task_path(task_id)}/retry"
    return Call("POST", path, Task.of, body=said(changes) or None, repeatable=False)


def run(task_id: str) -> Call[Task]:
    """Make a scheduled task due."""
    return Call("POST", f"{task_path(task_id)}/run", Task.of)


def delete(task_id: str) -> Call[None]:
    """Delete a finished task."""
    return Call("DELETE", task_path(task_id), no_content, done_status=HTTPStatus.GONE)


def change(task_id: str, **changes: Any) -> Call[Task]:
    """Give a scheduled task those of these members that are not None.

    Raises:
        InvalidArgument: all are.
    """
    body = said(changes)
    if not body:
        problem = "it has to say something: a payload, a type or a time"
        raise InvalidArgument(f"change of task {shortened(str(task_id))}", problem)
    return Call("PATCH", task_path(task_id), Task.of, body=body)


def cancel(task_id: str, *, children: bool = False) -> Call[Cancellation]:
    """Cancel a task that is not finished, and all that belong to it if that is wished."""
    return Call(
        "POST",
        f"{task_path(task_id)}/cancel",
        _cancellation,
        params={"children": "1"} if children else {},
        repeatable=False,
        wait_seconds=_CANCEL_SECONDS + (_CHILDREN_SECONDS if children else 0.0),
    )


def events(
    task_id: str | None, filters: Mapping[str, str | Sequence[str] | None], last_event_id: str
) -> Call[None]:
    """Open a stream of events: of one task, or of all that the filters let through."""
    path = "/events" if task_id is None else f"{task_path(task_id)}/events"
    return stream(path, said(filters), last_event_id)


def stream(
    path: str, params: Mapping[str, str | Sequence[str]], last_event_id: str = ""
) -> Call[None]:
    """Open a stream of server-sent events."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if last_event_id:
        headers["Last-Event-ID"] = last_event_id
    return Call("GET", path, no_content, params=params, headers=headers, stream=True)


def no_content(_: Any) -> None:
    """Read an answer that has no content."""


def said(members: Mapping[str, Any]) -> dict[str, Any]:
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


def task_path(task_id: str) -> str:
    """The path of a task."""
    return f"/tasks/{segment(task_id, 'task id')}"


def segment(name: str, what: str) -> str:
    """One segment of a path.

    Args:
        what: what it names, for the error.

    Raises:
        InvalidArgument: it cannot be one. Dots alone are taken out even when encoded (RFC 3986,
            6.2.2), and servers decode a slash before they look for what a path means.
    """
    text = str(name)
    if text in ("", ".", "..") or "/" in text or not _is_unicode(text):
        problem = "it must not be empty, '.' or '..', nor have a slash or a lone surrogate"
        raise InvalidArgument(f"{what} {shortened(text)!r}", problem)
    return quote(text, safe="")


def _is_unicode(text: str) -> bool:
    """True if UTF-8 can encode it: half of a surrogate pair is no character (RFC 3629, 3)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _cancellation(document: Any) -> Cancellation:
    children = document.get("children")
    return Cancellation(
        CancelOutcome(document["outcome"]),
        Task.of(document["task"]),
        None if children is None else CancelledChildren.of(children),
    )
