"""One attempt at a task: what the executors run, in whichever process.

    load the type -> validate the payload -> start the clock -> run -> encode -> outcome

Whatever goes wrong on the way ends as an `Outcome`; only a cancellation passes through. A spawned
child loads this module and the task types, and nothing of the HTTP layer.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel, ValidationError
from structlog.contextvars import bind_contextvars

from afterwards import task_types
from afterwards.errors import UnknownTaskType
from afterwards.execution.lifespans import IN_THREAD, ON_LOOP
from afterwards.execution.retrying import is_transient, leaves, seconds_until_next
from afterwards.logs import configure, get_logger
from afterwards.system.large_bodies import aside
from afterwards.task_types.base import (
    Cancelled,
    Environment,
    Interrupted,
    PermanentError,
    TaskContext,
    TaskModule,
    TaskType,
    TransientError,
)
from afterwards.task_types.modules import load, load_catalogue
from afterwards_executors import this_host
from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.notes import current_line
from afterwards_executors.retry import DEFAULT_WAIT, Starved

log = get_logger(__name__)


class Attempt(NamedTuple):
    """One attempt, as plain data that crosses process borders."""

    type: str
    payload: bytes
    """JSON, as the task type's payload model wrote it."""
    context: TaskContext
    max_attempts: int | None = None
    """Of this task; None: its type's."""


def prepare(environment: Environment) -> None:
    """Make a host ready for attempts, so that the first one's clock does not run meanwhile.

    Raises:
        ConfigurationError: a task module cannot be used; each attempt at its types says so, too.
    """
    _configure_host(environment)
    load_catalogue(environment.task_modules)


def run_attempt(attempt: Attempt) -> Outcome:
    """Run a task type whose `run` is a plain function."""
    _connect(attempt)
    started = perf_counter()
    task_type = None
    try:
        task_type = _load_type(attempt)
        _tell_time_out_delay(task_type, attempt)
        payload = _validate_payload(task_type, attempt)
        if (module := _task_module_of(attempt)) is not None:
            attempt.context.resources = IN_THREAD.resources(*module)
        started = perf_counter()
        result = task_type.run(payload, attempt.context)
        if inspect.iscoroutine(result):
            # The type's executor has changed since the task was accepted.
            result = asyncio.run(result)
        return _succeeded(
            encode_result(result, attempt.context.environment.max_result_bytes), started
        )
    except Exception as error:  # noqa: BLE001 - task types raise what they like
        return _failed(error, attempt, task_type, started)
    finally:
        _disconnect(attempt)


async def run_attempt_async(attempt: Attempt) -> Outcome:
    """Run a task type whose `run` is a coroutine function. A cancellation passes through."""
    _connect(attempt)
    started = perf_counter()
    task_type = None
    try:
        task_type = _load_type(attempt)
        _tell_time_out_delay(task_type, attempt)
        payload = await aside(len(attempt.payload), _validate_payload, task_type, attempt)
        if (module := _task_module_of(attempt)) is not None:
            attempt.context.resources = await ON_LOOP.resources(*module)
        started = perf_counter()
        if task_type.executor == "async":
            result = await cast("Any", task_type.run(payload, attempt.context))
        else:
            # It has changed since the task was accepted; the event loop must not wait all the same.
            result = await asyncio.to_thread(task_type.run, payload, attempt.context)
        return _succeeded(
            encode_result(result, attempt.context.environment.max_result_bytes), started
        )
    except Exception as error:  # noqa: BLE001 - task types raise what they like
        return _failed(error, attempt, task_type, started)
    finally:
        _disconnect(attempt)


FUNCTIONS: Final[Mapping[str, Callable[[Attempt], Any]]] = MappingProxyType(
    {"async": run_attempt_async, "thread": run_attempt, "process": run_attempt}
)
"""What goes into `afterwards_executors.base.Work` for each kind of executor."""


# -- the steps ---------------------------------------------------------------------------------


def _connect(attempt: Attempt) -> None:
    """Give the attempt its line to the executor, and its task to every line that it logs.

    Executors give each call a context of its own, so nothing has to be unbound.
    """
    attempt.context.line = current_line()
    bind_contextvars(
        task_id=attempt.context.task_id, type=attempt.type, attempt=attempt.context.attempt
    )


def _disconnect(attempt: Attempt) -> None:
    # The line is the call, which holds the attempt: a circle, which costs a run of the collector.
    attempt.context.line = attempt.context.resources = None


def _configure_host(environment: Environment) -> None:
    # It has inherited no logging.
    configure(environment.log_level, environment.log_format, this_host.log_stream())


def _load_type(attempt: Attempt) -> TaskType:
    # Those that come with the service run in a process that must not import any module.
    built_in = task_types.CATALOGUE.get(attempt.type)
    if built_in is not None:
        return built_in
    try:
        return load_catalogue(attempt.context.environment.task_modules)[attempt.type]
    except KeyError:
        # Accepted by a version that had this type; only deploying it again helps.
        raise PermanentError(str(UnknownTaskType(attempt.type))) from None


def _task_module_of(attempt: Attempt) -> tuple[TaskModule, str] | None:
    if attempt.type in task_types.CATALOGUE:
        return None
    found = load(attempt.context.environment.task_modules).task_module_of(attempt.type)
    return None if found is None else (found[1], found[0])


def _tell_time_out_delay(task_type: TaskType, attempt: Attempt) -> None:
    # Once its time is up, nobody may be left to ask. What is not said is the default, which costs
    # no message.
    line = attempt.context.line
    if line is not None and task_type.retry.wait is not DEFAULT_WAIT:
        line.time_out_delay(_seconds_until_next(task_type, attempt))


def _seconds_until_next(
    task_type: TaskType, attempt: Attempt, error: Exception | None = None
) -> float | None:
    used = attempt.context.attempts_used
    return seconds_until_next(task_type.retry, used, attempt.max_attempts, error)


def _validate_payload(task_type: TaskType, attempt: Attempt) -> BaseModel:
    try:
        return task_type.payload.model_validate_json(attempt.payload)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'payload'}: {problem['msg']}"
            for problem in error.errors(
                include_url=False, include_input=False, include_context=False
            )
        )
        raise PermanentError(f"The payload is not valid: {problems}") from None


_TOLD: Final = 5
"""Errors of a group that are told; the record is for people."""

_to_json: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
"""Made once: `json.dumps` with these arguments makes an encoder at each call."""


def encode_result(result: object, limit_bytes: int) -> bytes:
    """What a task type's `run` returned, as it is stored.

    Raises:
        PermanentError: it is no JSON object, or larger than `limit_bytes`.
    """
    if not isinstance(result, Mapping):
        kind = type(result).__name__
        raise PermanentError(f"The result of a task has to be a JSON object, not {kind}")
    try:
        encoded = _to_json(dict(result)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PermanentError(f"The result is not JSON: {describe(error)}") from error
    if len(encoded) > limit_bytes:
        raise PermanentError(
            f"The result has {len(encoded)} bytes; AFTERWARDS_MAX_RESULT_BYTES allows {limit_bytes}"
        )
    return encoded


def _succeeded(result: bytes, started: float) -> Outcome:
    return Outcome(End.SUCCEEDED, value=result, run_seconds=perf_counter() - started)


_EXPECTED: Final = (PermanentError, Cancelled, Interrupted)
"""Errors that need no traceback."""


def _failed(
    error: Exception, attempt: Attempt, task_type: TaskType | None, started: float
) -> Outcome:
    run_seconds = perf_counter() - started
    errors = list(leaves(error))
    if _was_asked_to_stop(attempt.context, errors):
        return Outcome(End.CANCELLED, error="Stopped when it was asked to", run_seconds=run_seconds)
    if all(map(_is_starved, errors)):
        return Outcome(End.STARVED, error=_message(error), transient=True, run_seconds=run_seconds)
    transient = task_type is not None and is_transient(task_type.retry, error)
    if not (transient or all(isinstance(one, _EXPECTED) for one in errors)):
        # Whoever wrote the task type needs to know where; the record has one line for its readers.
        log.warning("attempt raised what its task type did not expect", exc_info=error)
    retry_in_seconds = None
    if task_type is not None and transient:
        retry_in_seconds = _seconds_until_next(task_type, attempt, error)
    return Outcome(
        End.FAILED,
        error=_message(error),
        transient=transient,
        run_seconds=run_seconds,
        retry_in_seconds=retry_in_seconds,
    )


def _was_asked_to_stop(context: TaskContext, errors: Sequence[BaseException]) -> bool:
    """Whether it was cancelled, or its process is about to end, and it has stopped for that."""
    if all(isinstance(one, Interrupted) for one in errors):
        return context.stopping
    return context.cancelled and all(isinstance(one, Cancelled) for one in errors)


def _is_starved(error: BaseException) -> bool:
    """Whether what it needed has run out in the whole process, which is not its own fault.

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
        return f"The task raised {kind}, but nobody had cancelled it: {message}"
    if isinstance(error, Interrupted):
        return f"The task raised {kind}, but nothing was stopping: {message}"
    if isinstance(error, PermanentError | TransientError) or message == kind:
        return message
    # Not written for the person who reads it: "'region'" says little without "KeyError".
    return f"{kind}: {message}"


def _messages(group: BaseExceptionGroup[Any]) -> str:
    """What is in a group; its own message says how many at most."""
    found = list(dict.fromkeys(_message(one) for one in leaves(group)))
    more = f"; and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return "; ".join(found[:_TOLD]) + more
