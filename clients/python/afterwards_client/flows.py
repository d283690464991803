"""The client's logic as generators that do no I/O, for both clients alike.

A flow yields what it needs done, `Send` or `Pause`, and is sent the response, or thrown httpx's
error; what it returns is the result. So retries, long polls and their time limits are written once,
and tested without a network or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from afterwards_client import calls
from afterwards_client.calls import Call
from afterwards_client.errors import (
    ApiError,
    ConnectionFailed,
    TaskFailed,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from afterwards_client.groups import Batch
from afterwards_client.new_task import NewTask
from afterwards_client.retries import RETRIED_STATUSES, Patience, Retries, retry_after_seconds
from afterwards_client.tasks import Task, TaskDetails
from afterwards_client.times import seconds_of

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Send this, and tell what came of it."""

    call: Call[Any]


@dataclass(frozen=True)
class Pause:
    """Let this time pass."""

    seconds: float


Flow = Generator[Send | Pause, httpx.Response | None, T]

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Before a byte of the request was on its way."""

_WRONG_URL = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)

LONGEST_LEG_SECONDS = 25
"""The time for which one request waits for a task's end: less than the 30 s that proxies often
allow."""

_LEAST_SECONDS = 1.0
"""Any submission has that long to be answered, however short the wait for the task is to be."""

_GRACE_SECONDS = 2.0
"""After the end of a wait: the service waits for whole seconds, and its answer takes its time."""

_EARLY_PAUSE_SECONDS = 0.5
"""After a long poll that was answered early, as a service does that is about to stop."""


def perform(
    call: Call[T], retries: Retries, deadline: float | None = None, grace_seconds: float = 0.0
) -> Flow[T]:
    """Send it until it is answered.

    A call that is not repeatable is sent again only if nothing of it was sent before: a 503, too,
    may come after the deed. For the same reason one that is sent again may be refused because it is
    done: its `done_status` is a success then.

    Args:
        deadline: by the clock of `retries`; it is not sent again after that.
        grace_seconds: how much longer an answer may take. Each time it is sent, connecting, sending
            and the answer may each take what is left until then.

    Raises:
        ApiError: the answer is no, or was to the last.
        ConnectionFailed: there was no answer to the last.
    """
    patience = Patience(retries, deadline)
    was_sent = False
    while True:
        asked = None
        try:
            left = None if deadline is None else deadline + grace_seconds - retries.clock()
            response = yield Send(replace(call, limit_seconds=left))
        except httpx.TransportError as error:
            if isinstance(error, _WRONG_URL):
                raise
            if not (call.repeatable or isinstance(error, _UNSENT)):
                raise ConnectionFailed(_url(error), explained(error)) from error
            was_sent = was_sent or not isinstance(error, _UNSENT)
            failure: Exception = error
        else:
            assert response is not None
            if was_sent and response.status_code == call.done_status:
                return call.read(None)
            if response.status_code not in RETRIED_STATUSES or not call.repeatable:
                return call.result(response)
            was_sent = True
            asked = retry_after_seconds(response)
            failure = _refusal(response)
        delay = patience.delay_seconds(asked)
        if delay is None:
            if isinstance(failure, httpx.TransportError):
                raise ConnectionFailed(_url(failure), explained(failure)) from failure
            raise failure
        yield Pause(delay)


def submit(
    task: NewTask, key: str | None, wait: float | timedelta | None, retries: Retries
) -> Flow[Task]:
    """Submit, and wait if that is wished; the task as it stands when the time is up.

    The submission itself does not wait: so the task's id is known before anything can go wrong
    with a wait, and then it is returned, whatever does.
    """
    limit = seconds_of(wait) or 0.0
    call = calls.submit(task, _key(key))
    if limit <= 0:
        return (yield from perform(call, retries))
    began = retries.clock()
    submitted = yield from perform(call, retries, began + max(limit, _LEAST_SECONDS))
    left = began + limit - retries.clock()
    if submitted.is_finished or left <= 0:
        return submitted
    try:
        return (yield from wait_for(submitted.id, left, retries))
    except WaitTimeout as timeout:
        return timeout.task
    except (ApiError, ConnectionFailed, UnexpectedAnswer):
        return submitted


def submit_many(
    tasks: Sequence[NewTask],
    key: str | None,
    retries: Retries,
    then: NewTask | None = None,
    on: str | None = None,
) -> Flow[Batch]:
    """Submit all or none, with the task that follows them if there is one."""
    return (yield from perform(calls.submit_many(tasks, _key(key), then, on), retries))


def wait_for(
    task_id: str, timeout: float | timedelta | None, retries: Retries
) -> Flow[TaskDetails]:
    """Ask until the task is finished.

    Raises:
        WaitTimeout: it was not, in time.
    """
    limit = seconds_of(timeout)
    due = None if limit is None else retries.clock() + limit
    while True:
        asked = retries.clock()
        leg = _leg_seconds(None if due is None else due - asked)
        task = yield from _leg(task_id, leg, retries, due)
        if task.is_finished:
            return task
        now = retries.clock()
        if limit is not None and due is not None and now >= due:
            raise WaitTimeout(task, limit)
        if now - asked < leg / 2:
            yield Pause(
                _EARLY_PAUSE_SECONDS if due is None else min(_EARLY_PAUSE_SECONDS, due - now)
            )


def _leg(task_id: str, seconds: int, retries: Retries, due: float | None) -> Flow[TaskDetails]:
    """The task when it is finished, or when that many seconds are over.

    A leg that fails says nothing of the task: somebody on the way did not wait for so long, or does
    not let anybody wait. What is answered at once shows whether the service is there, and how the
    task stands; only that is given up as any call is.
    """
    began = retries.clock()
    once = replace(retries, total_seconds=0.0)
    try:
        return (yield from perform(calls.get(task_id, seconds), once, due, _GRACE_SECONDS))
    except (ConnectionFailed, Unavailable) as failure:
        now = retries.clock()
        pause: float | None = 0.0
        if now - began < seconds / 2 or not seconds:
            asked = failure.retry_after_seconds if isinstance(failure, Unavailable) else None
            pause = Patience(retries, due).delay_seconds(asked)
        if pause is None or (due is not None and now >= due + _GRACE_SECONDS):
            raise
    if pause:
        yield Pause(pause)
    return (yield from perform(calls.get(task_id), retries, due, _GRACE_SECONDS))


def result_of(
    task_id: str, timeout: float | timedelta | None, retries: Retries
) -> Flow[Mapping[str, Any]]:
    """Wait for the task, and take its result.

    Raises:
        TaskFailed: there is none.
    """
    task = yield from wait_for(task_id, timeout, retries)
    if not task.succeeded:
        raise TaskFailed(task)
    return task.result or {}


def _key(key: str | None) -> str:
    """The caller's, even if it is empty, which is a mistake; or else one for this call."""
    return str(uuid4()) if key is None else key


def _leg_seconds(left: float | None) -> int:
    """The time for which the service is asked to wait; it takes whole seconds only."""
    longest = LONGEST_LEG_SECONDS
    return longest if left is None or left > longest else max(0, math.ceil(left))


def explained(error: httpx.TransportError) -> str:
    """Why there was no answer; some of httpx's errors have no text."""
    if isinstance(error, httpx.PoolTimeout):
        return "the httpx client that was given has a limit, and all its connections are in use"
    return str(error) or type(error).__name__


def _refusal(response: httpx.Response) -> ApiError:
    try:
        calls.check(response)
    except ApiError as error:
        return error
    raise AssertionError(response.status_code)


def _url(error: httpx.TransportError) -> str:
    return str(error.request.url)
