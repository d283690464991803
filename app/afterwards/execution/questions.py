"""Questions of attempts about other tasks, as their worker answers them.

    attempt --submit-->          kept until its report, which brings them to the registry
    attempt --submit, at once--> registry --> answer
    attempt --members-->         registry --> answer, a page

What comes from a host may be anything, so that all of it is checked again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from afterwards.errors import (
    AfterwardsError,
    IllegalTransition,
    Unavailable,
    UnknownTaskType,
)
from afterwards.execution.messages import Problem, decode, encode, encode_members
from afterwards.labels import checked, stored
from afterwards.lifecycle import (
    HIGHEST_PRIORITY,
    MAX_CHILDREN,
    MAX_CHILDREN_BYTES,
    MAX_DELAY_SECONDS,
    Task,
)
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import (
    Failed,
    Members,
    Report,
    Request,
    SubmitChildren,
    Succeeded,
)
from afterwards.task_ids import child_id, child_id_now
from afterwards.task_types.description import Catalogue
from afterwards_executors.submissions import soon

log = get_logger(__name__)

Answer = Callable[[bytes], None]

_BROKEN: Final = (ValueError, TypeError, KeyError, RecursionError)
"""The errors of a look at anything."""


class Submitted:
    """The tasks that one attempt submits with its success."""

    __slots__ = ("problem", "size", "tasks")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.size = 0
        self.problem: str | None = None
        """Why they cannot be accepted."""

    def add(self, task: Task) -> None:
        """One more, as far as there may be."""
        self.size += len(task.payload)
        if len(self.tasks) >= MAX_CHILDREN or self.size > MAX_CHILDREN_BYTES:
            self.problem = "It submits more tasks, or larger ones, than a task may"
        else:
            self.tasks.append(task)

    def reported(self, report: Report) -> Report:
        """The report of its attempt, with them."""
        if not isinstance(report, Succeeded):
            return report
        if self.problem is None:
            return report._replace(children=tuple(self.tasks))
        return Failed(
            report.task_id,
            report.attempt,
            self.problem,
            report.run_seconds,
            None,
            usage=report.usage,
            log_lines=report.log_lines,
        )


class Questions:
    """Answers questions; from any thread.

    Args:
        ask: asks the registry, on the event loop; None: nothing can be asked.
    """

    def __init__(
        self, catalogue: Catalogue, ask: Callable[[Request], Awaitable[Any]] | None
    ) -> None:
        self._catalogue = catalogue
        self._ask = ask
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: set[asyncio.Task[None]] = set()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask the registry on this loop."""
        self._loop = loop

    def put(
        self,
        claim: Claim,
        trace: str | None,
        submitted: Submitted,
        question: bytes,
        answer: Answer | None,
    ) -> None:
        """Take a question of an attempt. Never raises, and never waits.

        Args:
            trace: what the tasks that it submits go on with.
            submitted: takes what is submitted with the attempt's success.
        """
        try:
            if answer is None:
                self._keep(claim, trace, submitted, question)
            else:
                self._answer(self._request(claim, trace, question), answer)
        except _BROKEN as error:
            log.warning(
                "attempt's question cannot be read",
                task_id=claim.task_id,
                attempt=claim.attempt,
                error=str(error),
            )
            if answer is None:
                submitted.problem = f"It submits what is no task: {error}"
            else:
                answer(_refusal(Problem.REFUSED, str(error)))

    def _keep(self, claim: Claim, trace: str | None, submitted: Submitted, question: bytes) -> None:
        head, payload = decode(question)
        task_id = child_id(claim.task_id, claim.attempt, len(submitted.tasks))
        try:
            submitted.add(self._child(head, payload, task_id, trace))
        except UnknownTaskType as error:
            submitted.problem = str(error)

    def _request(self, claim: Claim, trace: str | None, question: bytes) -> Request:
        head, payload = decode(question)
        if head["ask"] == "members":
            return Members(claim.task_id, int(head["after"]))
        occurrence = int(head["occurrence"])
        task_id = child_id_now(claim.task_id, claim.retries, str(head["type"]), payload, occurrence)
        try:
            child = self._child(head, payload, task_id, trace)
        except UnknownTaskType as error:
            raise ValueError(str(error)) from None
        return SubmitChildren(claim.task_id, claim.attempt, (child,))

    def _child(self, head: dict[str, Any], payload: bytes, task_id: str, trace: str | None) -> Task:
        """The task that is submitted.

        Raises:
            UnknownTaskType: there is no such type in this worker.
            ValueError, TypeError, KeyError, RecursionError: it is no task.
        """
        task_type = self._catalogue.get(head["type"])
        if task_type is None:
            raise UnknownTaskType(str(head["type"]))
        if not isinstance(json.loads(payload, parse_constant=_no_number), dict):
            raise TypeError("the payload is no JSON object")
        now = time.time()
        task = Task(
            id=task_id,
            type=task_type.name,
            payload=payload,
            executor=task_type.executor,
            created_at=now,
            run_at=now,
            max_attempts=task_type.max_attempts,
            priority=_between(int(head["priority"]), HIGHEST_PRIORITY),
            labels=None if head["labels"] is None else stored(checked(json.loads(head["labels"]))),
            trace=trace,
        )
        delay = head["delay"]
        if not delay:
            return task
        delay = _between(float(delay), MAX_DELAY_SECONDS)
        return task.postponed(now + delay, delay)

    # -- the registry --------------------------------------------------------------------------

    def _answer(self, request: Request, answer: Answer) -> None:
        """Have the registry asked, and the attempt answered."""
        if self._loop is None or self._ask is None:
            answer(_refusal(Problem.UNAVAILABLE, "The service is about to stop"))
            return
        try:
            soon(self._loop)(self._begin, request, answer)
        except RuntimeError:  # the loop is closed
            answer(_refusal(Problem.UNAVAILABLE, "The service is about to stop"))

    def _begin(self, request: Request, answer: Answer) -> None:
        assert self._loop is not None
        running = self._loop.create_task(self._carry_out(request, answer))
        # The loop itself holds tasks only weakly.
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _carry_out(self, request: Request, answer: Answer) -> None:
        assert self._ask is not None
        reply = _refusal(Problem.UNAVAILABLE, "The service has not answered")
        try:
            found = await self._ask(request)
            reply = encode({})
            if isinstance(request, Members):
                reply = encode_members(found.tasks, found.next)
        except Unavailable as error:
            reply = _refusal(Problem.UNAVAILABLE, str(error))
        except IllegalTransition as error:
            reply = _refusal(Problem.CANCELLED, str(error))
        except AfterwardsError as error:
            reply = _refusal(Problem.REFUSED, str(error))
        finally:
            answer(reply)


def _refusal(problem: Problem, message: str) -> bytes:
    return encode({"problem": problem.value, "message": message})


def _between(number: Any, most: float) -> Any:
    if not 0 <= number <= most:
        raise ValueError(f"{number} is not between 0 and {most:g}")
    return number


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")
