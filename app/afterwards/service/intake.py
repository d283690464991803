"""From what was ordered to the task that is stored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from afterwards.errors import UnknownTaskType
from afterwards.lifecycle import DEFAULT_PRIORITY, Follows, Kind, Task, Wishes
from afterwards.registry.protocol.requests import OnConflict
from afterwards.system.large_bodies import LARGE_BYTES
from afterwards.task_ids import new_id
from afterwards.task_types.description import Catalogue, TypeDescription


class TaskRequest(NamedTuple):
    """A task that somebody wants done. Its payload has been validated."""

    type: str
    payload: bytes
    """JSON, as it was sent."""
    delay_seconds: float | None = None
    run_at: float | None = None
    """At most one of the two."""
    priority: int = DEFAULT_PRIORITY
    max_attempts: int | None = None
    """None: the task type's."""
    timeout_seconds: float | None = None
    deadline: float | None = None
    labels: str | None = None
    """A JSON object, as `Task.labels`."""
    concurrency_key: str | None = None
    unique_key: str | None = None
    on_conflict: OnConflict | None = None
    """The fate of a single task whose unique key an unfinished one has; None: `existing`."""
    callback: str | None = None
    """As `Task.callback`."""


class AcceptedTask(NamedTuple):
    """A task that is on disk."""

    task: Task
    replayed: bool = False
    """True if it was accepted before, under the same idempotency key."""
    existing: bool = False
    """True if it is another one, which is unfinished and has the same unique key."""


class Then(NamedTuple):
    """The task that follows a batch."""

    task: TaskRequest
    on: Follows = Follows.SUCCESS


class AcceptedBatch(NamedTuple):
    """Several tasks that are on disk."""

    tasks: list[Task]
    replayed: bool = False
    then: Task | None = None
    """The task that follows them; None: none does, or it was deleted meanwhile."""


class Intake:
    """Makes tasks, after their type's pattern."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.renew(catalogue)

    def renew(self, catalogue: Catalogue) -> None:
        """Take these types from now on, and no others."""
        self._patterns = {name: _pattern(task_type) for name, task_type in catalogue.items()}

    def task(self, type_name: str, payload: bytes, now: float, owner: str | None = None) -> Task:
        """A task to be done at once, as its type says.

        Raises:
            UnknownTaskType: there is no such type.
        """
        pattern = self._patterns.get(type_name)
        if pattern is None:
            raise UnknownTaskType(type_name)
        return pattern.submitted(new_id(), payload, now, owner)

    def requested(self, wanted: TaskRequest, now: float, owner: str | None = None) -> Task:
        """A task as it was requested. Raises as `task`."""
        task = self._shaped(wanted, self.task(wanted.type, wanted.payload, now, owner))
        if wanted.delay_seconds:
            return task.postponed(now + wanted.delay_seconds, wanted.delay_seconds)
        if wanted.run_at is not None and wanted.run_at > now:
            return task.postponed(wanted.run_at)
        return task

    def batch(
        self, wanted: Sequence[TaskRequest], then: Then | None, now: float, owner: str | None
    ) -> list[Task]:
        """Tasks as they were requested, the one that follows them last. Raises as `task`."""
        tasks = [self.requested(one, now, owner) for one in wanted]
        if then is None:
            return tasks
        follower = self.requested(then.task, now, owner).following(then.on, len(tasks))
        return [*(task.wanting(group=follower.id) for task in tasks), follower]

    def pattern(self, wanted: TaskRequest) -> Task:
        """The pattern of a schedule's tasks: no id, no times. Raises as `task`."""
        task = self.task(wanted.type, wanted.payload, 0.0)
        return replace(self._shaped(wanted, task), id="")

    def kind(self, type_name: str) -> Kind:
        """The part of a type that a task moved to it takes over. Raises as `task`."""
        pattern = self.task(type_name, b"", 0.0)
        return Kind(pattern.type, pattern.executor, pattern.max_attempts)

    def _shaped(self, wanted: TaskRequest, task: Task) -> Task:
        wishes: Wishes = {}
        if wanted.priority != DEFAULT_PRIORITY:
            wishes["priority"] = wanted.priority
        if wanted.max_attempts is not None:
            wishes["max_attempts"] = wanted.max_attempts
        if wanted.timeout_seconds is not None:
            wishes["timeout_seconds"] = wanted.timeout_seconds
        if wanted.deadline is not None:
            wishes["deadline"] = wanted.deadline
        if wanted.labels is not None:
            wishes["labels"] = wanted.labels
        if wanted.concurrency_key is not None:
            wishes["concurrency_key"] = wanted.concurrency_key
        if wanted.unique_key is not None:
            wishes["unique_key"] = wanted.unique_key
        if wanted.callback is not None:
            wishes["callback"], wishes["webhook"] = wanted.callback, 1
        return task.wanting(**wishes) if wishes else task


def _pattern(task_type: TypeDescription) -> Task:
    return Task(
        id="",
        type=task_type.name,
        payload=b"",
        executor=task_type.executor,
        created_at=0.0,
        run_at=0.0,
        max_attempts=task_type.max_attempts,
    )


_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_WITH_EXPONENT: Final = 1e21
"""From here on canonical JSON writes numbers with an exponent (RFC 8785, 3.2.2.3)."""
_WITH_NUMBERS: Final = frozenset({float, list, dict})


def fingerprint(sent: Any, type_name: str = "") -> bytes:
    """The fingerprint that tells two submissions apart: a hash of the canonical JSON that was sent.

    Args:
        type_name: of a submission whose body does not name its type; its labels follow, if any.
    """
    text = _canonical(sent)
    if ".0" in text or "e+" in text:
        text = _canonical(_with_integers(sent))
    return _digest(text, type_name)


def fingerprint_of_json(text: bytes, type_name: str = "") -> bytes:
    """The same, of JSON. With a large one Python's lock is let go now and then."""
    sent = from_json(text)
    if len(text) <= LARGE_BYTES:
        return fingerprint(sent, type_name)
    return _digest(_canonical_in_steps(sent), type_name)


def _digest(text: str, type_name: str) -> bytes:
    return hashlib.sha256(f"{type_name}\n{text}".encode()).digest()


def _canonical_in_steps(value: Any) -> str:
    """As `_canonical` of `_with_integers`, which take 150 ms over a mebibyte of numbers."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int:
        return int.__repr__(value)
    if kind is list:
        return f"[{','.join([_canonical_in_steps(one) for one in value])}]"
    if kind is dict:
        # Strings only: to sort pairs takes three times as long.
        members = [
            f"{encode_basestring_ascii(name)}:{_canonical_in_steps(value[name])}"
            for name in sorted(value)
        ]
        return f"{{{','.join(members)}}}"
    if kind is float and math.isfinite(value):
        return repr(_with_integers(value))
    return _canonical(value)


def _with_integers(value: Any) -> Any:
    """To JSON 5.0 is the integer 5 (RFC 8785)."""
    kind = type(value)
    if kind is float:
        is_integer = -_WITH_EXPONENT < value < _WITH_EXPONENT and value.is_integer()
        return int(value) if is_integer else value
    # A call for each string or integer would take three times as long.
    if kind is list:
        return [_with_integers(v) if type(v) in _WITH_NUMBERS else v for v in value]
    if kind is dict:
        return {k: _with_integers(v) if type(v) in _WITH_NUMBERS else v for k, v in value.items()}
    return value
