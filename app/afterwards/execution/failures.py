"""The outcome of an attempt that has raised: cancelled, starved or failed, with its message."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any, Final

from afterwards.execution.retrying import is_transient, leaves, seconds_until_next
from afterwards.execution.tracebacks import traceback_of
from afterwards.logs import get_logger
from afterwards.task_types.base import (
    Cancelled,
    Interrupted,
    PermanentError,
    TaskContext,
    TaskType,
    TransientError,
)
from afterwards_executors import this_host
from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.retry import Gone, Starved

log = get_logger(__name__)

_EXPECTED: Final = (PermanentError, Cancelled, Interrupted)
"""Errors that need no traceback."""

_TOLD: Final = 5
"""Errors of a group that are told; the record is for people."""


def failure(
    error: Exception,
    context: TaskContext,
    task_type: TaskType | None,
    max_attempts: int | None,
    run_seconds: float,
) -> Outcome:
    """The outcome of an attempt that ended with this error.

    Args:
        task_type: None: it could not be loaded, and no later attempt could.
        max_attempts: of this task; None: its type's.
    """
    errors = list(leaves(error))
    if _was_asked_to_stop(context, errors):
        return Outcome(End.CANCELLED, error="Stopped when it was asked to", run_seconds=run_seconds)
    if all(map(_is_starved, errors)):
        return Outcome(End.STARVED, error=_message(error), transient=True, run_seconds=run_seconds)
    transient = task_type is not None and is_transient(task_type.retry, error)
    if not (transient or all(isinstance(one, _EXPECTED) for one in errors)):
        # Whoever wrote the task type needs to know where; the record has one line for its readers.
        log.warning("attempt raised what its task type did not expect", exc_info=error)
    retry_in_seconds = None
    if task_type is not None and transient:
        retry_in_seconds = seconds_until_next(
            task_type.retry, context.attempts_used, max_attempts, error
        )
    return Outcome(
        End.FAILED,
        value=traceback_of(error),
        error=_message(error),
        transient=transient,
        run_seconds=run_seconds,
        retry_in_seconds=retry_in_seconds,
        gone=any(isinstance(one, Gone) for one in errors),
    )


def _was_asked_to_stop(context: TaskContext, errors: Sequence[BaseException]) -> bool:
    """True if it was cancelled, or its process is about to end, and it has stopped for that."""
    if all(isinstance(one, Interrupted) for one in errors):
        return context.stopping
    return context.cancelled and all(isinstance(one, Cancelled) for one in errors)


def _is_starved(error: BaseException) -> bool:
    """True if something has run out in the whole process, which is not the attempt's own fault.

    The descriptors and threads of a host for one attempt are that attempt's own, and memory may be
    anybody's: there the task type decides.
    """
    is_shared = this_host.kind() != "process"
    if isinstance(error, Starved):
        return True
    if isinstance(error, OSError):
        return (error.errno == errno.EMFILE and is_shared) or error.errno == errno.ENFILE
    # What CPython's `Thread.start` raises has no class of its own.
    is_threads = isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    return is_threads and is_shared


def _message(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return _messages(error)
    message, kind = describe(error), type(error).__name__
    if isinstance(error, Cancelled):
        return f"The task raised {kind}, but was not cancelled: {message}"
    if isinstance(error, Interrupted):
        return f"The task raised {kind}, but nothing was stopping: {message}"
    if isinstance(error, PermanentError | TransientError) or message == kind:
        return message
    # Not written for the person who reads it: "'region'" says little without "KeyError".
    return f"{kind}: {message}"


def _messages(group: BaseExceptionGroup[Any]) -> str:
    """The messages of a group's members; its own message says how many at most."""
    found = list(dict.fromkeys(_message(one) for one in leaves(group)))
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return "; ".join(found[:_TOLD]) + more
