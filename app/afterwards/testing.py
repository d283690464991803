"""For the tests of one's own task types: run them without a service."""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from afterwards.execution.attempt import encode_result
from afterwards.execution.retrying import is_transient, seconds_until_next
from afterwards.task_types.artifact_writer import ArtifactWriter
from afterwards.task_types.base import TaskContext, TaskType
from afterwards.task_types.context import (
    Environment,
    Interrupted,
    Progress,
    artifacts_of,
    drop_artifacts,
    keep_artifacts,
)
from afterwards.task_types.family import Child, Family, Member, Order, Page

__all__ = ["Order", "RecordingContext", "run_once", "run_once_async"]


class RecordingContext(TaskContext):
    """A context whose progress, children and artifacts can be looked at. It can be told to stop.

    Args:
        group: the members that the task follows.
    """

    retry_in_seconds: float | None
    """After an attempt that raised: how long the service would wait until the next one; None: it
    would fail the task."""

    def __init__(
        self,
        task_id: str = "test-task",
        *,
        attempt: int = 1,
        attempts_used: int = 0,
        group: Sequence[Member] = (),
    ) -> None:
        environment = Environment(Path.cwd(), 0.0, 0.0, 0.0, 0.0, max_result_bytes=2**20)
        self._line = _RecordingLine()
        self._recorded = _RecordingRelatives(task_id, group)
        self.retry_in_seconds = None
        super().__init__(
            task_id,
            attempt,
            attempts_used,
            environment,
            type="test",
            line=self._line,
            family=Family(members=len(group)),
            relatives=self._recorded,
        )
        directory = Path(tempfile.mkdtemp(prefix="afterwards-test-"))
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        limit = environment.max_artifact_bytes
        self.artifact_writer = ArtifactWriter(directory, task_id, attempt, limit)

    @property
    def submitted(self) -> list[Order]:
        """Every task that was submitted. If the attempt fails, only those with `now` are there."""
        return self._recorded.submitted

    @property
    def reported(self) -> list[tuple[float, str | None]]:
        """Every fraction and message that was given to `progress`."""
        return [(progress.fraction, progress.message) for progress in self._line.reported]

    @property
    def artifacts(self) -> dict[str, bytes]:
        """The content of each artifact that is whole, by name; none after an error."""
        return {name: path.read_bytes() for name, path in artifacts_of(self).finished.items()}

    def cancel(self) -> None:
        """From now on `cancelled` is true."""
        self._line.is_stop_asked = True

    def stop(self) -> None:
        """From now on `stopping` is true, as when the service stops."""
        self._line.is_stopping = True


class _RecordingRelatives:
    def __init__(self, task_id: str, group: Sequence[Member]) -> None:
        self.submitted: list[Order] = []
        self._task_id = task_id
        self._group = group

    def submit(self, order: Order) -> Child:
        if isinstance(order.payload, BaseModel):
            order = order._replace(payload=order.payload.model_dump(mode="json"))
        json.dumps(order.payload, allow_nan=False)
        self.submitted.append(order)
        return Child(f"{self._task_id}-child-{len(self.submitted)}", order.type)

    def ask_for_members(self, after: int) -> Future[bytes]:
        asked: Future[bytes] = Future()
        asked.set_result(b"")
        return asked

    def wait_for(self, answer: Future[bytes]) -> bytes:
        return answer.result()

    def page(self, answer: bytes) -> Page:
        return Page(self._group, None)


class _RecordingLine:
    def __init__(self) -> None:
        self.reported: list[Progress] = []
        self.is_stop_asked = False
        self.is_stopping = False

    def send_progress(self, data: bytes) -> None:
        self.reported.append(Progress.decoded(data))

    def time_out_delay(self, seconds: float | None) -> None:
        """Do nothing: this attempt has no time limit."""

    def tell(self, data: bytes) -> None:
        """Do nothing: nothing listens."""

    def ask(self, data: bytes) -> Future[bytes]:
        """Nothing answers."""
        raise NotImplementedError

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """Nothing answers."""
        raise NotImplementedError


def run_once(
    task_type: TaskType,
    payload: Mapping[str, Any],
    context: TaskContext | None = None,
    *,
    resources: Any = None,
) -> dict[str, Any]:
    """One attempt as the service would make it, in this thread: what it would store as the result.

    Args:
        resources: stands in for what the lifespan of the type's module yields.

    Raises:
        pydantic.ValidationError: the payload does not fit the type's model.
        PermanentError: the result is no JSON object, or too large.
        Exception: whatever `run` raises. `RecordingContext.retry_in_seconds` says then whether and
            when the service would try again.
    """
    if task_type.executor == "async":
        return asyncio.run(run_once_async(task_type, payload, context, resources=resources))
    # Without an event loop around it: a plain function may start one of its own.
    with _attempt(task_type, payload, context, resources) as (accepted, given):
        return _stored(task_type.run(accepted, given), given)


async def run_once_async(
    task_type: TaskType,
    payload: Mapping[str, Any],
    context: TaskContext | None = None,
    *,
    resources: Any = None,
) -> dict[str, Any]:
    """`run_once` for tests that have an event loop; a plain function runs in a thread."""
    with _attempt(task_type, payload, context, resources) as (accepted, given):
        if task_type.executor == "async":
            result = task_type.run(accepted, given)
            return _stored(await result if inspect.isawaitable(result) else result, given)
        return _stored(await asyncio.to_thread(task_type.run, accepted, given), given)


@contextmanager
def _attempt(
    task_type: TaskType, payload: Mapping[str, Any], context: TaskContext | None, resources: Any
) -> Iterator[tuple[BaseModel, TaskContext]]:
    # It is stored as it was sent, and the attempt reads it again.
    accepted = task_type.payload.model_validate_json(json.dumps(payload))
    given = RecordingContext() if context is None else context
    if resources is not None:
        given.resources = resources
    try:
        yield accepted, given
        keep_artifacts(given)
    except BaseException as error:
        drop_artifacts(given)
        if isinstance(given, RecordingContext):
            given.retry_in_seconds = _seconds_until_next(task_type, given, error)
        raise


def _seconds_until_next(
    task_type: TaskType, context: RecordingContext, error: BaseException
) -> float | None:
    if isinstance(error, Interrupted) and context.stopping:
        return 0.0
    if not (isinstance(error, Exception) and is_transient(task_type.retry, error)):
        return None
    return seconds_until_next(task_type.retry, context.attempts_used, None, error)


def _stored(result: Any, context: TaskContext) -> dict[str, Any]:
    encoded = encode_result(result, context.environment.max_result_bytes)
    document: dict[str, Any] = json.loads(encoded)
    return document
