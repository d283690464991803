"""One attempt at a task: what the executors run, in whichever process.

    load the type -> validate the payload -> start the clock -> run -> encode -> outcome

Whatever goes wrong on the way ends as an `Outcome`; only a cancellation passes through. A spawned
child loads this module and the task types, and nothing of the HTTP layer.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from pydantic import BaseModel, ValidationError
from structlog.contextvars import bind_contextvars

from afterwards import task_types
from afterwards.effects.settings import EffectSettings
from afterwards.errors import UnknownTaskType
from afterwards.execution.effects_host import NAME, effects_module, have_effects
from afterwards.execution.failures import failure
from afterwards.execution.lifespans import IN_THREAD, ON_LOOP
from afterwards.execution.relatives import AttemptRelatives
from afterwards.execution.retrying import seconds_until_next
from afterwards.execution.stored_json import stored_json
from afterwards.logs import configure
from afterwards.system.large_bodies import aside
from afterwards.task_types.base import (
    Environment,
    PermanentError,
    TaskContext,
    TaskModule,
    TaskType,
)
from afterwards.task_types.context import drop_artifacts, keep_artifacts
from afterwards.task_types.family import Family
from afterwards.task_types.modules import load, load_catalogue
from afterwards.trace_context import ids
from afterwards.webhooks.webhook import Target
from afterwards_executors import this_host
from afterwards_executors.base import End, Outcome, describe
from afterwards_executors.progress import current_line
from afterwards_executors.retry import DEFAULT_WAIT


class Attempt(NamedTuple):
    """One attempt, as plain data that crosses process borders.

    Its environment stays behind: the host has it from `prepare`, and to load it with each attempt
    takes longer than all the rest.
    """

    type: str
    payload: bytes
    """JSON, as the task type's payload model wrote it."""
    context: TaskContext
    max_attempts: int | None = None
    """The bound of this task's attempts; None: its type's."""

    def __reduce__(self) -> tuple[Callable[..., Attempt], tuple[Any, ...]]:
        context = self.context
        target = None if context.target is None else (*context.target,)
        about = context.task_id, context.attempt, context.attempts_used, context.trace, target
        # A bare tuple: pickle takes five times as long for one with names.
        family = (*context.family,)
        return _in_this_host, (self.type, self.payload, self.max_attempts, about, family)


def _in_this_host(
    type_name: str,
    payload: bytes,
    max_attempts: int | None,
    about: tuple[str, int, int, str | None, tuple[Any, ...] | None],
    family: tuple[Any, ...],
) -> Attempt:
    """The attempt that crossed the border, in the environment on this side."""
    if _environment is None:
        raise RuntimeError("this process was not prepared for attempts")
    task_id, number, attempts_used, trace, target = about
    context = TaskContext(
        task_id,
        number,
        attempts_used,
        _environment,
        type_name,
        trace,
        family=Family(*family),
        target=None if target is None else Target(*target),
    )
    return Attempt(type_name, payload, context, max_attempts)


_environment: Environment | None = None
"""The environment of this host, once it is prepared."""


def prepare(environment: Environment, effects: EffectSettings | None = None) -> None:
    """Make a host ready for attempts, so that the first one's clock does not run meanwhile.

    Args:
        effects: for the host of effects; None: this is another one.

    Raises:
        ConfigurationError: a task module cannot be used; each attempt at its types says so, too.
    """
    global _environment  # noqa: PLW0603 - a process is one host
    _environment = environment
    _configure_host(environment)
    load_catalogue(environment.task_modules, environment.built_in)
    if effects is not None:
        have_effects(effects)


def run_attempt(attempt: Attempt) -> Outcome:
    """Run a task type whose `run` is a plain function."""
    run = _Run(attempt)
    try:
        task_type = run.load_type()
        payload = _validate_payload(task_type, attempt)
        if (module := _task_module_of(attempt)) is not None:
            attempt.context.resources = IN_THREAD.resources(*module)
        run.start_clock()
        result = task_type.run(payload, attempt.context)
        if inspect.iscoroutine(result):
            # The type's executor has changed since the task was accepted.
            result = asyncio.run(result)
        return run.succeeded(result)
    except Exception as error:  # noqa: BLE001 - task types raise what they like
        return run.failed(error)
    finally:
        run.disconnect()


async def run_attempt_async(attempt: Attempt) -> Outcome:
    """Run a task type whose `run` is a coroutine function. A cancellation passes through."""
    run = _Run(attempt)
    try:
        task_type = run.load_type()
        payload = await aside(len(attempt.payload), _validate_payload, task_type, attempt)
        if (module := _task_module_of(attempt)) is not None:
            attempt.context.resources = await ON_LOOP.resources(*module)
        run.start_clock()
        if task_type.executor == "async":
            result = await cast("Any", task_type.run(payload, attempt.context))
        else:
            # It has changed since the task was accepted; the event loop must not wait all the same.
            result = await asyncio.to_thread(task_type.run, payload, attempt.context)
        return run.succeeded(result)
    except Exception as error:  # noqa: BLE001 - task types raise what they like
        return run.failed(error)
    finally:
        run.disconnect()


FUNCTIONS: Final[Mapping[str, Callable[[Attempt], Any]]] = MappingProxyType(
    {
        "async": run_attempt_async,
        "thread": run_attempt,
        "process": run_attempt,
        "dask": run_attempt,
    }
)
"""The function of `afterwards_executors.base.Work` for each kind of executor."""


# -- the steps ---------------------------------------------------------------------------------


class _Run:
    """The steps that both ways have in common, and what they leave for the end."""

    __slots__ = ("_attempt", "_has_succeeded", "_started", "_task_type")

    def __init__(self, attempt: Attempt) -> None:
        """Give the attempt its line to the executor, and its task to every line that it logs.

        Executors give each call a context of its own, so nothing has to be unbound.
        """
        self._attempt = attempt
        self._task_type: TaskType | None = None
        self._has_succeeded = False
        context = attempt.context
        context.line = current_line()
        context.make_relatives = _make_relatives
        bind_contextvars(task_id=context.task_id, type=attempt.type, attempt=context.attempt)
        if context.trace is not None:
            _go_on_with(context.trace)
        self._started = perf_counter()

    def start_clock(self) -> None:
        """Count the run's seconds from here on."""
        self._started = perf_counter()

    def load_type(self) -> TaskType:
        """The attempt's task type; the executor learns when a next attempt would be due.

        Raises:
            PermanentError: there is none of this name any more.
        """
        attempt = self._attempt
        task_type = self._task_type = _load_type(attempt)
        line, retry = attempt.context.line, task_type.retry
        if line is not None and retry.wait is not DEFAULT_WAIT:
            # Once its time is up, nobody may be left to ask. What is not said is the default, which
            # costs no message.
            used = attempt.context.attempts_used
            line.time_out_delay(seconds_until_next(retry, used, attempt.max_attempts))
        return task_type

    def succeeded(self, result: object) -> Outcome:
        """The outcome of an attempt whose `run` has returned.

        Raises:
            PermanentError: that cannot be stored, or it has not waited for what it submitted.
            Starved, TransientError: its artifacts cannot, just now.
        """
        context = self._attempt.context
        if isinstance(context.relatives, AttemptRelatives):
            context.relatives.require_settled()
        value = encode_result(result, context.environment.max_result_bytes)
        artifacts = keep_artifacts(context)
        self._has_succeeded = True
        return Outcome(
            End.SUCCEEDED,
            value=value,
            extra=None if artifacts is None else artifacts.encode(),
            run_seconds=perf_counter() - self._started,
        )

    def failed(self, error: Exception) -> Outcome:
        """The outcome of an attempt that has raised, in whichever step."""
        run_seconds = perf_counter() - self._started
        attempt = self._attempt
        return failure(error, attempt.context, self._task_type, attempt.max_attempts, run_seconds)

    def disconnect(self) -> None:
        """Take the line from the attempt, whatever has become of it.

        Unless it has succeeded, its artifacts go.
        """
        if not self._has_succeeded:
            drop_artifacts(self._attempt.context)
        # The line is the call, which holds the attempt: a circle is work for the collector.
        context = self._attempt.context
        context.line = context.resources = context.relatives = context.make_relatives = None


def _go_on_with(trace: str) -> None:
    """Have its trace own all that the attempt logs, and all spans that it makes."""
    bind_contextvars(**ids(trace))
    # By name: hosts without traces load nothing of OpenTelemetry's.
    importlib.import_module("afterwards.traces.current").make_current(trace)


def _configure_host(environment: Environment) -> None:
    # It has inherited no logging.
    configure(environment.log_level, environment.log_format, this_host.log_stream())


def _load_type(attempt: Attempt) -> TaskType:
    environment = attempt.context.environment
    # Those that come with the service run in a process that must not import any module.
    if _is_built_in(attempt):
        return task_types.CATALOGUE[attempt.type]
    found = load_catalogue(environment.task_modules, environment.built_in).get(attempt.type)
    if found is None:
        # Accepted by a version that had this type; only deploying it again helps.
        raise PermanentError(str(UnknownTaskType(attempt.type)))
    return found


def _make_relatives(context: TaskContext) -> AttemptRelatives:
    return AttemptRelatives(context, partial(_find_type, context.environment))


def _find_type(environment: Environment, name: str) -> TaskType | None:
    """A type that an attempt submits a task of, where the attempt runs."""
    # As above: what runs in no host belongs to the service, and knows its types only.
    modules = () if this_host.kind() is None else environment.task_modules
    return load_catalogue(modules, environment.built_in).get(name)


def _is_built_in(attempt: Attempt) -> bool:
    names = attempt.context.environment.built_in
    return attempt.type in (task_types.CATALOGUE if names is None else names)


def _task_module_of(attempt: Attempt) -> tuple[TaskModule, str] | None:
    if _is_built_in(attempt):
        ours = effects_module()
        return None if ours is None else (ours, NAME)
    environment = attempt.context.environment
    found = load(environment.task_modules, environment.built_in).task_module_of(attempt.type)
    return None if found is None else (found[1], found[0])


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


_OBJECTS: Final = (dict, Mapping)
"""The types of a JSON object. An abstract class alone would take twice as long to tell."""


def encode_result(result: object, limit_bytes: int) -> bytes:
    """Encode the result of a task type's `run` as it is stored.

    Raises:
        PermanentError: it is no JSON object, or larger than `limit_bytes`.
    """
    if not isinstance(result, _OBJECTS):
        kind = type(result).__name__
        raise PermanentError(f"The result of a task has to be a JSON object, not {kind}")
    try:
        encoded = stored_json(result)
    except (TypeError, ValueError, RecursionError) as error:
        raise PermanentError(f"The result is not JSON: {describe(error)}") from error
    if len(encoded) > limit_bytes:
        raise PermanentError(
            f"The result has {len(encoded)} bytes; AFTERWARDS_MAX_RESULT_BYTES allows {limit_bytes}"
        )
    return encoded
