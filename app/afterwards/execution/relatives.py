"""An attempt's wishes about other tasks: checked where it runs, and sent to its worker."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from pydantic import BaseModel

from afterwards.errors import UnknownTaskType
from afterwards.execution.messages import Problem, decode, encode
from afterwards.execution.stored_json import stored_json
from afterwards.labels import MAX_LABELS, checked, stored
from afterwards.lifecycle import (
    HIGHEST_PRIORITY,
    MAX_CHILDREN,
    MAX_CHILDREN_BYTES,
    MAX_DELAY_SECONDS,
    MAX_DEPTH,
)
from afterwards.task_ids import child_id, child_id_now
from afterwards.task_types.base import TaskType
from afterwards.task_types.context import Cancelled, TaskContext
from afterwards.task_types.family import Child, Member, Order, Page
from afterwards_executors import this_host
from afterwards_executors.retry import PermanentError, TransientError


class AttemptRelatives:
    """See `afterwards.task_types.family.Relatives`. For any thread of the attempt.

    Args:
        context: of an attempt that runs, so it has a line.
        find_type: the task type of a name; None: there is none.
    """

    __slots__ = ("_bytes", "_context", "_find_type", "_line", "_lock", "_number", "_same", "_sent")

    def __init__(self, context: TaskContext, find_type: Callable[[str], TaskType | None]) -> None:
        assert context.line is not None
        self._line = context.line
        self._context = context
        self._find_type = find_type
        self._lock = threading.Lock()
        self._number = self._bytes = 0
        self._same: dict[tuple[str, bytes], int] = {}
        self._sent: list[Child] = []
        """Those whose answer has to be waited for."""

    def submit(self, order: Order) -> Child:
        """See `TaskContext.submit`."""
        payload = _encoded(order.payload)
        self._check(order, payload)
        head = {
            "ask": "submit",
            "type": order.type,
            "delay": order.delay_seconds,
            "priority": self._priority(order.priority),
            "labels": self._labels(order.labels),
        }
        # Together: the other end numbers them as they come.
        with self._lock:
            self._count(payload)
            child = (self._send_now if order.now else self._send)(order.type, head, payload)
        if order.now and not _may_await():
            child.wait(self._line.wait_for)
        return child

    def ask_for_members(self, after: int) -> Future[bytes]:
        """See `Relatives`."""
        asked = self._line.ask(encode({"ask": "members", "after": after}))
        if not _may_await():
            self._line.wait_for(asked)
        return asked

    def wait_for(self, answer: Future[bytes]) -> bytes:
        """See `Relatives`.

        Raises:
            RuntimeError: an event loop runs here, which would wait for itself.
        """
        if _may_await():
            raise RuntimeError("in a coroutine, a group is read with `async for`")
        return self._line.wait_for(answer)

    def page(self, answer: bytes) -> Page:
        """See `Relatives`."""
        head, body = _taken(answer)
        members = [
            Member(task_id, type_name, status, result, error)
            for (task_id, type_name, status, error), result in json.loads(body)
        ]
        return Page(members, head["next"])

    def require_settled(self) -> None:
        """Refuse the success of an attempt that has not waited for what it submitted.

        Raises:
            PermanentError: it names the type.
        """
        for child in self._sent:
            if not child.is_settled:
                raise PermanentError(
                    f"A task {child.type!r} was submitted with now=True, and nothing has waited "
                    "for it; in a coroutine, await context.submit(..., now=True)"
                )

    # -- how -----------------------------------------------------------------------------------

    def _check(self, order: Order, payload: bytes) -> None:
        task_type = self._find_type(order.type)
        if task_type is None:
            raise PermanentError(str(UnknownTaskType(str(order.type))))
        most = self._context.environment.max_result_bytes
        if len(payload) > most:
            raise ValueError(f"the payload has {len(payload)} bytes; a child's may have {most}")
        task_type.payload.model_validate_json(payload)
        delay = order.delay_seconds
        if delay is not None and not 0 <= delay <= MAX_DELAY_SECONDS:
            raise ValueError(f"delay_seconds is 0 to {MAX_DELAY_SECONDS:.0f}, not {delay!r}")
        if self._context.family.depth >= MAX_DEPTH:
            raise PermanentError(f"Tasks may be nested {MAX_DEPTH} deep, and this one is so deep")

    def _priority(self, wanted: Any) -> int:
        if wanted is None:
            return self._context.family.priority
        if not isinstance(wanted, int) or not 0 <= wanted <= HIGHEST_PRIORITY:
            raise ValueError(f"priority is 0 to {HIGHEST_PRIORITY}, not {wanted!r}")
        return wanted

    def _labels(self, wanted: Mapping[str, str] | None) -> str | None:
        """Those of the task, and those that are wanted besides."""
        own = self._context.family.labels
        if not wanted:
            return own
        merged = {**(json.loads(own) if own else {}), **checked(wanted)}
        if len(merged) > MAX_LABELS:
            raise ValueError(f"with those of its parent a child has {len(merged)} labels")
        return stored(merged)

    def _count(self, payload: bytes) -> None:
        """Count a child. Under the lock."""
        number, size = self._number + len(self._sent) + 1, self._bytes + len(payload)
        if number > MAX_CHILDREN:
            raise PermanentError(f"A task may submit {MAX_CHILDREN} tasks, and this is one more")
        if size > MAX_CHILDREN_BYTES:
            raise PermanentError(
                f"A task may submit {MAX_CHILDREN_BYTES} bytes of payload, and these are {size}"
            )
        self._bytes = size

    def _send(self, type_name: str, head: dict[str, Any], payload: bytes) -> Child:
        context = self._context
        self._line.tell(encode(head, payload))
        child = Child(child_id(context.task_id, context.attempt, self._number), type_name)
        self._number += 1
        return child

    def _send_now(self, type_name: str, head: dict[str, Any], payload: bytes) -> Child:
        occurrence = self._same.get((type_name, payload), 0)
        self._same[type_name, payload] = occurrence + 1
        context = self._context
        retries = context.family.retries
        task_id = child_id_now(context.task_id, retries, type_name, payload, occurrence)
        asked = self._line.ask(encode({**head, "occurrence": occurrence}, payload))
        child = Child(task_id, type_name, asked, _accept)
        self._sent.append(child)
        return child


def _may_await() -> bool:
    """True if this is a coroutine, and answers come while it waits.

    In a host for processes nothing reads them but the attempt itself.
    """
    if this_host.kind() == "process":
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _encoded(payload: Mapping[str, Any] | BaseModel) -> bytes:
    """A payload as it is stored.

    Raises:
        ValueError: it is no JSON object.
    """
    if isinstance(payload, BaseModel):
        return payload.model_dump_json().encode()
    if not isinstance(payload, Mapping):
        raise ValueError(f"a payload is a JSON object, not {type(payload).__name__}")  # noqa: TRY004 - as any other mistake in it
    try:
        return stored_json(payload)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from error


def _accept(answer: bytes) -> None:
    _taken(answer)


def _taken(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """The answer of the worker.

    Raises:
        PermanentError, TransientError, Cancelled: what was asked for is refused.
    """
    if not answer:
        raise TransientError("The service does not answer")
    head, body = decode(answer)
    message = head.get("message", "refused")
    match head.get("problem"):
        case None:
            return head, body
        case Problem.UNAVAILABLE:
            raise TransientError(message)
        case Problem.CANCELLED:
            raise Cancelled(message)
        case _:
            raise PermanentError(message)
