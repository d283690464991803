"""The client's logic as generators that do no I/O, for both clients alike.

A flow yields what it needs done, `Send` or `Pause`, and is sent the response, or thrown httpx's
error; what it returns is the result. So retries, long polls and their time limits are written once,
and tested without a network or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import httpx

from afterwards_client import calls
from afterwards_client.calls import Call
from afterwards_client.errors import ApiError, ConnectionFailed, TaskFailed, WaitTimeout
from afterwards_client.retries import RETRIED_STATUSES, Patience, Retries, retry_after_seconds
from afterwards_client.tasks import NewTask, Task, TaskDetails, seconds_of

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

_EARLY_PAUSE_SECONDS = 0.5
"""After a long poll that was answered early, as a service does that is about to stop."""


def perform(call: Call[T], retries: Retries) -> Flow[T]:
    """Send it until it is answered.

    A call that is not repeatable is sent again only if nothing of it was sent before: a 503, too,
    may come after the deed.

    Raises:
        ApiError: the answer is no, or was to the last.
        ConnectionFailed: there was no answer to the last.
    """
    patience = Patience(retries)
    while True:
        asked = None
        try:
            response = yield Send(call)
        except httpx.TransportError as error:
            if isinstance(error, _WRONG_URL):
                raise
            if not (call.repeatable or isinstance(error, _UNSENT)):
                raise ConnectionFailed(_url(error), explained(error)) from error
            failure: Exception = error
        else:
            assert response is not None
            if response.status_code not in RETRIED_STATUSES or not call.repeatable:
                return call.result(response)
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
    """Submit, and wait if that is wished; the task as it stands when the time is up."""
    left = seconds_of(wait) or 0.0
    deadline = retries.clock() + left
    leg = _leg_seconds(left)
    submitted = yield from perform(calls.submit(task, _key(key), leg), retries)
    if submitted.is_finished or (left := deadline - retries.clock()) <= 0:
        return submitted
    try:
        return (yield from wait_for(submitted.id, left, retries))
    except WaitTimeout as timeout:
        return timeout.task


def submit_many(tasks: Sequence[NewTask], key: str | None, retries: Retries) -> Flow[list[Task]]:
    """Submit all or none."""
    return (yield from perform(calls.submit_many(tasks, _key(key)), retries))


def wait_for(
    task_id: str, timeout: float | timedelta | None, retries: Retries
) -> Flow[TaskDetails]:
    """Ask until the task is finished.

    Raises:
        WaitTimeout: it was not, in time.
    """
    limit = seconds_of(timeout)
    began = retries.clock()
    while True:
        asked = retries.clock()
        left = None if limit is None else began + limit - asked
        leg = _leg_seconds(left)
        patient = retries if left is None else retries.within(left)
        task = yield from perform(calls.get(task_id, leg), patient)
        if task.is_finished:
            return task
        now = retries.clock()
        if limit is not None and now >= began + limit:
            raise WaitTimeout(task, limit)
        if now - asked < leg / 2:
            yield Pause(_EARLY_PAUSE_SECONDS)


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
    """How long to have the service wait; it takes whole seconds only."""
    longest = calls.LONGEST_WAIT_SECONDS
    return longest if left is None or left > longest else math.ceil(left)


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
