"""The context of an attempt: what it may know of itself, tell, and ask (`TaskContext`)."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from pydantic import BaseModel
from structlog.typing import FilteringBoundLogger

from afterwards import trace_context
from afterwards.logs import LogFormat, LogLevel, get_logger
from afterwards.task_types.artifact_writer import ArtifactWriter
from afterwards.task_types.family import Child, Family, Group, Order, Relatives
from afterwards.webhooks.webhook import Target
from afterwards_executors.progress import Line

MAX_MESSAGE_CHARACTERS: Final = 500

_MAKING: Final = threading.Lock()
"""Held while a context makes its writer of artifacts or its relatives: a lock of its own could not
be pickled."""


class Cancelled(Exception):
    """Raised by a task that has seen `TaskContext.cancelled` and stops.

    Raised without such a request, it is an error like any other, and permanent.
    """


class Interrupted(Exception):
    """Raised by a task that has seen `TaskContext.stopping`: it is run again, and nothing counts.

    Raised although nothing is stopping, it is an error like any other, and permanent.
    """


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings that the service gives every attempt, in whichever process."""

    output_dir: Path
    notification_delay_seconds: float
    report_delay_seconds: float
    file_delay_seconds: float
    email_delay_seconds: float
    max_result_bytes: int
    log_level: LogLevel = "info"
    log_format: LogFormat = "auto"
    max_artifact_bytes: int = 100 * 2**20
    task_modules: tuple[str, ...] = ()
    """The modules of the task types that do not come with the service."""
    built_in: tuple[str, ...] | None = None
    """The names of the task types that come with the service and are on; None: all of them."""


class Progress(NamedTuple):
    """The progress of an attempt, as it says itself."""

    fraction: float
    """0 to 1."""
    message: str | None

    def encoded(self) -> bytes:
        """As it travels from the attempt to the dispatcher, if need be between processes."""
        return json.dumps(self, ensure_ascii=False).encode(errors="replace")

    @classmethod
    def decoded(cls, data: bytes) -> Progress:
        """The progress that `encoded` made; it comes from a child, so anything may be in it.

        Raises:
            ValueError: it is no progress.
        """
        try:
            fraction, message = json.loads(data)
            return cls.of(fraction, message)
        except (TypeError, RecursionError) as error:
            raise ValueError(f"no progress: {error}") from None

    @classmethod
    def of(cls, fraction: float, message: str | None) -> Progress:
        """Checked, and the message cut to `MAX_MESSAGE_CHARACTERS`.

        Raises:
            ValueError: the fraction is not between 0 and 1.
        """
        number = float(fraction)
        if math.isnan(number) or not 0 <= number <= 1:
            raise ValueError(f"progress is a fraction from 0 to 1, not {fraction!r}")
        return cls(number, None if message is None else str(message)[:MAX_MESSAGE_CHARACTERS])


@dataclass(slots=True)
class TaskContext:
    """One attempt, as its task type's `run` sees it.

    Everything here may be used from any thread of the attempt.
    """

    task_id: str
    attempt: int
    """The attempt's number; grows over the task's whole life."""
    attempts_used: int
    """Attempts of this round that ended in an error; 0 in the first attempt after a submission or
    a retry by hand."""
    environment: Environment
    """The settings for the types that come with the service; task types of one's own have their
    own."""
    type: str = ""
    trace: str | None = field(default=None, repr=False, compare=False)
    """As `afterwards.trace_context` has it; see `traceparent`."""
    target: Target | None = field(default=None, repr=False, compare=False)
    """The receiver of a delivery; None: the task is none."""
    line: Line | None = field(default=None, repr=False, compare=False)
    """To the executor; set where the attempt runs, as it crosses no process border."""
    resources: Any = field(default=None, repr=False, compare=False)
    """The value that the lifespan of its task module has yielded (`TaskModule`); None: it has
    none."""
    _logger: FilteringBoundLogger | None = field(default=None, repr=False, compare=False)
    artifact_writer: ArtifactWriter | None = field(default=None, repr=False, compare=False)
    """Set with the first artifact, where the attempt runs."""
    family: Family = field(default=Family(), repr=False, compare=False)
    relatives: Relatives | None = field(default=None, repr=False, compare=False)
    """Made where the attempt runs, once it asks for them: most attempts never do."""
    make_relatives: Callable[[TaskContext], Relatives] | None = field(
        default=None, repr=False, compare=False
    )
    """Set where the attempt runs."""

    def submit(
        self,
        type: str,  # noqa: A002 - the name that the API has for it
        payload: Mapping[str, Any] | BaseModel | None = None,
        *,
        delay_seconds: float | None = None,
        priority: int | None = None,
        labels: Mapping[str, str] | None = None,
        now: bool = False,
    ) -> Child:
        """Submit another task, a child of this one, which then knows it as its parent.

        It is accepted in the transaction of this attempt's success. If the attempt fails, there is
        no such task. With `now=True` it is accepted at once, and the call waits for that. A later
        attempt that submits the same again, in the same order, gets the same task. In a coroutine,
        `await` such a call.

        A task has at most 1,000 children with 8 MiB of payload together, and at most 8 ancestors.

        Args:
            payload: of the new task. A mistake in it is raised here.
            delay_seconds: it starts so long after it is accepted, or submitted.
            priority: 0 to 9; None: that of this task.
            labels: besides those of this task, or in their place.

        Returns:
            The child, whose `id` is known at once.

        Raises:
            pydantic.ValidationError: the payload does not fit the type's model.
            ValueError: another argument is wrong, or the payload is larger than a result may be.
            PermanentError: there is no such type, or this task may have no more children.
            TransientError: the service cannot accept it just now (with `now=True`).
            Cancelled: this task's cancellation was asked for (with `now=True`).
        """
        relatives = _relatives_of(self)
        if relatives is None:
            raise RuntimeError("tasks are submitted while the attempt runs")
        payload = {} if payload is None else payload
        return relatives.submit(Order(type, payload, delay_seconds, priority, labels, now))

    @property
    def group(self) -> Group | None:
        """The tasks that this one follows, as the `then` of a batch; None: it follows none."""
        relatives = _relatives_of(self) if self.family.members else None
        if relatives is None:
            return None
        return Group(self.task_id, self.family.members, relatives)

    def progress(self, fraction: float, message: str | None = None) -> None:
        """Say how far the attempt is: `fraction` from 0 to 1, and a message for people.

        As cheap as it looks, so it can be called for each step: of those that come faster than ten
        a second, the last counts. Messages are cut to 500 characters.

        Raises:
            ValueError: the fraction is not between 0 and 1.
        """
        progress = Progress.of(fraction, message)
        if self.line is not None:
            self.line.send_progress(progress.encoded())

    def artifact(
        self,
        name: str,
        mode: str = "wb",
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AbstractContextManager[IO[Any]]:
        """A file that the task keeps: `with context.artifact("report.pdf") as file: ...`.

        The file is whole at the end of the block, or not there if the block raises. A second file
        of the same name replaces the first. The task lists the files once this attempt has
        succeeded; otherwise they are removed. Writing waits for the disk: in a coroutine, write
        what is large in a thread (`asyncio.to_thread`).

        Args:
            name: of one to 200 bytes, without a path.
            mode: `wb`, or `w` for text.
            encoding: of text, UTF-8 unless told otherwise; it, `errors` and `newline` as in `open`.

        Raises:
            ValueError: no file can have this name, or the mode is another one.
            PermanentError: the task's files have more than `AFTERWARDS_MAX_ARTIFACT_BYTES`
                together, or are more than 100, or they cannot be written.
            TransientError: the disk has no room just now.
            RuntimeError: the attempt is over.
        """
        return artifacts_of(self).open(
            name, mode, encoding=encoding, errors=errors, newline=newline
        )

    @property
    def cancelled(self) -> bool:
        """True if the attempt should stop: it was cancelled, or its time is up.

        For the executor `thread`, whose attempts cannot be stopped from outside: look at it now and
        then, and raise `Cancelled`. Attempts of the others are stopped without being asked.
        """
        return self.line is not None and self.line.is_stop_asked

    @property
    def stopping(self) -> bool:
        """True if the process that the attempt runs in is about to be ended.

        That is so when the service stops, until `AFTERWARDS_GRACE_SECONDS` are over, and when newer
        task code has taken its place for long. The attempt may still finish; or it saves what it
        has, and raises `Interrupted`. Otherwise it is ended, and run again.
        """
        return self.line is not None and self.line.is_stopping

    @property
    def traceparent(self) -> str | None:
        """The header `traceparent` (W3C Trace Context) for requests that the attempt makes.

        With it, and with `tracestate`, they go on with the task's trace. None: traces are off.
        """
        return None if self.trace is None else trace_context.traceparent(self.trace)

    @property
    def tracestate(self) -> str | None:
        """The header `tracestate` that goes with `traceparent`; None: there is none."""
        return None if self.trace is None else trace_context.tracestate(self.trace) or None

    @property
    def logger(self) -> FilteringBoundLogger:
        """A structlog logger whose lines carry ids of task and trace, the type and the attempt."""
        if self._logger is None:
            self._logger = get_logger(f"task.{self.type}").bind(
                task_id=self.task_id,
                type=self.type,
                attempt=self.attempt,
                **({} if self.trace is None else trace_context.ids(self.trace)),
            )
        return self._logger


def _relatives_of(context: TaskContext) -> Relatives | None:
    """The attempt's relatives, made when they are first asked for; None: it does not run."""
    with _MAKING:
        if context.relatives is None and context.line is not None:
            make = context.make_relatives
            context.relatives = None if make is None else make(context)
        return context.relatives


# -- for the service ---------------------------------------------------------------------------


def artifacts_of(context: TaskContext) -> ArtifactWriter:
    """The writer of the attempt's artifacts, made when it is first asked for."""
    with _MAKING:
        if context.artifact_writer is None:
            environment = context.environment
            context.artifact_writer = ArtifactWriter(
                environment.output_dir,
                context.task_id,
                context.attempt,
                environment.max_artifact_bytes,
            )
        return context.artifact_writer


def keep_artifacts(context: TaskContext) -> str | None:
    """As `ArtifactWriter.keep`, of an attempt that has succeeded."""
    return None if context.artifact_writer is None else context.artifact_writer.keep()


def drop_artifacts(context: TaskContext) -> None:
    """As `ArtifactWriter.discard`, of an attempt that ends otherwise."""
    if context.artifact_writer is not None:
        context.artifact_writer.discard()
