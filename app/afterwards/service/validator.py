"""Validates payloads of users' task types, whose code runs in hosts alone.

    requests --> waiting --one message--> host --answers--> requests
                    ^                       |
                    +-- one by one <--------+ it hung or died

One host, started with the worker and replaced when it dies. What waits while a message is under way
goes with the next one, all together. A message that costs the host its life, or its time, may be
any of its requests' fault: each of them then goes alone, in turns with those that come later, and
one that fails alone is the one. So a payload that no validator survives costs its own request, and
others a moment.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Final

from afterwards.errors import AfterwardsError, Draining, Unvalidated
from afterwards.logs import get_logger
from afterwards.task_types.validating import (
    COLD,
    Check,
    Code,
    Fault,
    Refusal,
    answers_in,
    validate,
    warm_up,
)
from afterwards_executors.base import End, Executor, Outcome, Work, describe
from afterwards_executors.submissions import soon

log = get_logger(__name__)

LIMIT_SECONDS: Final = 1.0
"""The time that a request may take the host, once that is ready."""

LONGEST_WAIT_SECONDS: Final = 10.0
"""The time for which a request waits for its turn, and for hosts to be replaced."""

DRAIN_SECONDS: Final = 1.5
"""The time for which requests may still wait once the process is about to stop. Their connections
are cut off later than that, which would leave them without an answer."""

START_SECONDS: Final = 60.0
"""The time in which the host has to import the task modules."""

MESSAGE_REQUESTS: Final = 128
MESSAGE_BYTES: Final = 1024 * 1024
"""The size of a message to the host, unless one request has more."""

_POLL_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
"""The period in which the host is looked after, if there is nothing else to do."""


class _Request:
    __slots__ = ("alone", "answer", "checks", "size", "timer")

    def __init__(self, checks: Sequence[Check], answer: asyncio.Future[Refusal | None]) -> None:
        self.checks = checks
        self.answer = answer
        self.size = sum(len(check.payload) for check in checks)
        self.alone = False
        """True if it was in a message that failed."""
        self.timer: asyncio.TimerHandle | None = None

    def end(self, answer: Refusal | AfterwardsError | None) -> None:
        """Answer it, unless it is answered, or not awaited any more."""
        if self.timer is not None:
            self.timer.cancel()
        if self.answer.done():
            return
        if isinstance(answer, AfterwardsError):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)

    def fail(self, problem: str, at: int = 0) -> None:
        """Answer that it is not known."""
        self.end(Unvalidated(self.checks[at].type, problem))


class Validator:
    """Has payloads validated by a host. Belongs to one event loop, but for `close`.

    Args:
        host: an executor with one slot, not started.
        code: the task modules, and the built-in task types that are on.
    """

    def __init__(self, host: Executor, code: Code) -> None:
        self._host = host
        self._code = code
        self._waiting: deque[_Request] = deque()
        self._suspects: deque[_Request] = deque()
        self._under_way: Sequence[_Request] = ()
        self._is_suspects_turn = False
        self._is_busy = False
        self._is_warm = False
        self._is_closed = False
        self._is_drained = False
        self._warming: asyncio.Future[None] | None = None
        """Somebody waits for the host to be warm."""
        self._is_broken = False
        """True if the last host could not load the modules, and that was logged."""
        self._rests_until = 0.0

    def start(self) -> None:
        """Start the host, in a running event loop; it gets warm beside whatever comes next."""
        self._loop = asyncio.get_running_loop()
        self._host.start()
        self._look()

    def drain(self) -> None:
        """Answer everybody soon, whether a host is ready or not: the process is about to stop."""
        self._loop.call_later(DRAIN_SECONDS, self._refuse_all)

    def _refuse_all(self) -> None:
        self._is_drained = True
        for request in (*self._waiting, *self._suspects, *self._under_way):
            request.end(Draining())

    def close(self, timeout_seconds: float) -> None:
        """End the host. Blocks; from any thread."""
        self._is_closed = True
        self._host.shutdown(timeout_seconds)

    async def warmed(self) -> None:
        """Wait until the host has loaded the task modules.

        Raises:
            Unvalidated: it cannot.
        """
        if not self._is_warm:
            self._warming = self._loop.create_future()
            await self._warming

    async def retire(self, timeout_seconds: float) -> None:
        """Answer what has been asked, and end. Nothing further may be asked."""
        until = self._loop.time() + LONGEST_WAIT_SECONDS
        while self._has_work() and self._loop.time() < until:  # noqa: ASYNC110 - three sources
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.to_thread(self.close, timeout_seconds)

    async def refusal_of(self, checks: Sequence[Check]) -> Refusal | None:
        """Why the first of these payloads is refused that is; None: all are taken.

        Raises:
            Unvalidated: a validator has hung, died or raised, or there is no host.
            Draining: this process is about to stop.
        """
        if self._is_closed or self._is_drained:
            raise Draining
        request = _Request(checks, self._loop.create_future())
        request.timer = self._loop.call_later(LONGEST_WAIT_SECONDS, self._give_up, request)
        self._waiting.append(request)
        self._go_on()
        return await request.answer

    def _has_work(self) -> bool:
        return bool(self._is_busy or self._waiting or self._suspects)

    def _give_up(self, request: _Request) -> None:
        problem = f"no process was ready for it within {LONGEST_WAIT_SECONDS:g} s"
        request.fail(problem)

    def _look(self) -> None:
        """See to it that there is a host, before somebody needs it."""
        if self._is_closed:
            return
        self._loop.call_later(_LOOK_SECONDS, self._look)
        if not self._is_busy:
            self._warm_up()

    def _go_on(self) -> None:
        if self._is_busy:
            return
        if self._is_closed:
            for request in (*self._waiting, *self._suspects):
                request.end(Draining())
        elif not self._is_warm:
            self._warm_up()
        elif message := self._next_message():
            work = Work(
                validate,
                (self._code, [[(*check,) for check in one.checks] for one in message]),
                LIMIT_SECONDS,
            )
            self._under_way = message
            self._submit(work, partial(self._validated, message))

    def _warm_up(self) -> None:
        if self._loop.time() >= self._rests_until:
            self._submit(Work(warm_up, (self._code,), START_SECONDS), self._warmed)

    def _submit(self, work: Work, then: Callable[[Outcome], None]) -> None:
        self._is_busy = True

        def ended(future: Future[Outcome]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                soon(self._loop)(self._ended, then, future.result())

        try:
            self._host.submit(work).add_done_callback(ended)
        except (RuntimeError, MemoryError) as error:
            then_outcome = Outcome(End.STARVED, error=describe(error))
            self._loop.call_soon(self._ended, then, then_outcome)

    def _ended(self, then: Callable[[Outcome], None], outcome: Outcome) -> None:
        self._is_busy = False
        then(outcome)
        self._go_on()

    # -- messages ------------------------------------------------------------------------------

    def _next_message(self) -> list[_Request]:
        """Those that go together: one suspect, or as many others as fit."""
        self._is_suspects_turn = not self._is_suspects_turn
        if self._is_suspects_turn or not self._waiting:
            while self._suspects:
                suspect = self._suspects.popleft()
                if not suspect.answer.done():
                    return [suspect]
        message: list[_Request] = []
        size = 0
        while self._waiting and len(message) < MESSAGE_REQUESTS:
            request = self._waiting[0]
            if message and size + request.size > MESSAGE_BYTES:
                break
            self._waiting.popleft()
            if not request.answer.done():
                message.append(request)
                size += request.size
        return message

    def _warmed(self, outcome: Outcome) -> None:
        self._is_warm = outcome.end is End.SUCCEEDED
        warming, self._warming = self._warming, None
        if self._is_warm:
            self._is_broken = False
            if warming is not None and not warming.done():
                warming.set_result(None)
            return
        if warming is not None and not warming.done():
            warming.set_exception(Unvalidated("", f"no process can validate: {outcome.error}"))
        if self._is_closed:
            return
        self._rests_until = self._loop.time() + _LOOK_SECONDS
        problem = f"no process can validate it: {outcome.error}"
        if not self._is_broken:
            self._is_broken = True
            log.error("payloads cannot be validated; trying again", reason=outcome.error)
        for request in (*self._waiting, *self._suspects):
            request.fail(problem)
        self._waiting.clear()
        self._suspects.clear()

    def _validated(self, message: list[_Request], outcome: Outcome) -> None:
        if outcome.end is End.SUCCEEDED:
            self._answer(message, outcome.value or b"")
        elif self._is_closed:
            for request in message:
                request.end(Draining())
        elif outcome.end is End.FAILED and outcome.error == COLD:
            self._is_warm = False
            self._put_back(message)
        else:
            self._is_warm = False
            self._blame(message, outcome)

    def _answer(self, message: list[_Request], value: bytes) -> None:
        try:
            answers = answers_in(value)
        except (TypeError, ValueError):
            answers = []
        if not answers:
            self._is_warm = False
            self._blame(message, Outcome(End.FAILED, error="it gave an answer that is none"))
            return
        for request, answer in zip(message, answers, strict=False):
            if isinstance(answer, Fault):
                request.fail(answer.problem, answer.at)
            else:
                request.end(answer)
        self._put_back(message[len(answers) :])

    def _put_back(self, message: Sequence[_Request]) -> None:
        for request in reversed(message):
            (self._suspects if request.alone else self._waiting).appendleft(request)

    def _blame(self, message: list[_Request], outcome: Outcome) -> None:
        if len(message) > 1:
            for request in message:
                request.alone = True
            self._suspects.extend(message)
            return
        [request] = message
        problem = outcome.error or "unknown error"
        if outcome.end is End.TIMED_OUT:
            problem = f"that took longer than {LIMIT_SECONDS:g} s"
        log.warning("payload could not be validated", type=request.checks[0].type, reason=problem)
        request.fail(problem)
