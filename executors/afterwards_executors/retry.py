"""Which errors are worth another attempt, how many, and after how long: tenacity decides.

The wait is not slept here. A `RetryPolicy` answers with a number of seconds, and the caller puts
the work away until then; so a backoff occupies no slot and survives a restart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from tenacity import (
    Future,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)
from tenacity.retry import retry_base
from tenacity.wait import wait_base

from afterwards_executors.passing import is_passing

MAX_RETRY_AFTER_SECONDS: Final = 10 * 365 * 86_400.0
"""Nothing waits for longer."""


class TransientError(Exception):
    """Raised by work that may succeed if it is tried again.

    Args:
        args: what `Exception` takes; the first is the message.
        retry_after: how long to wait until then, in seconds if it is a number; at most ten years.
            It goes before the wait of the policy. None: as the policy says.

    Raises:
        TypeError, ValueError: `retry_after` is no length of time.
    """

    retry_after_seconds: float | None = None

    def __init__(self, *args: object, retry_after: float | timedelta | None = None) -> None:
        super().__init__(*args)
        if retry_after is not None:
            self.retry_after_seconds = _seconds(retry_after)


def _seconds(retry_after: float | timedelta) -> float:
    seconds = retry_after.total_seconds() if isinstance(retry_after, timedelta) else retry_after
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"retry_after must be seconds or a timedelta, not {retry_after!r}")
    if math.isnan(seconds):
        raise ValueError("retry_after must be a number of seconds, not NaN")
    return float(min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS))


class Starved(TransientError):
    """Raised by work that lacked what everybody shares, such as descriptors.

    It is tried again, and this attempt is not counted.
    """


class PermanentError(Exception):
    """Raised by work that will fail however often it is tried."""


class Gone(PermanentError):
    """Raised by work for something that is gone for good: no other work for it is worth a try."""


def _default_retry() -> retry_base:
    return retry_if_exception(is_passing)


DEFAULT_WAIT: Final[wait_base] = wait_exponential_jitter(initial=1, max=60, jitter=1)
"""The wait of a policy that does not set its own."""


@dataclass(frozen=True)
class RetryPolicy:
    """tenacity's three strategies, asked after each attempt.

    The default: three attempts, about 1 s and 2 s apart, for transient errors only.
    """

    max_attempts: int = 3
    wait: wait_base = DEFAULT_WAIT
    """The time until the next attempt, in seconds."""
    retry: retry_base = field(default_factory=_default_retry)
    """Which exceptions are worth another attempt."""

    def is_transient(self, error: BaseException) -> bool:
        """True if `error` is worth another attempt.

        A `TransientError` and a `PermanentError` say so themselves. A group is if all are that are
        in it.
        """
        if isinstance(error, TransientError | PermanentError):
            return isinstance(error, TransientError)
        if isinstance(error, BaseExceptionGroup):
            return all(map(self.is_transient, error.exceptions))
        return self.retry(_after(error, attempts_used=1))

    def next_delay_seconds(
        self,
        attempts_used: int,
        *,
        transient: bool,
        max_attempts: int | None = None,
        retry_after: float | None = None,
    ) -> float | None:
        """After an attempt that ended in an error: seconds until the next one, or None to give up.

        Args:
            attempts_used: attempts that ended in an error, this one included; from 1.
            transient: whether this error is worth another attempt.
            max_attempts: overrides the policy's, for one piece of work.
            retry_after: what the error itself has asked for (`retry_after_of`); overrides `wait`.
        """
        if not transient:
            return None
        state = _after(TransientError(), attempts_used)
        limit = self.max_attempts if max_attempts is None else max_attempts
        if stop_after_attempt(limit)(state):
            return None
        return float(self.wait(state)) if retry_after is None else retry_after


def retry_after_of(error: BaseException) -> float | None:
    """After how many seconds the error itself wants another attempt; of a group, the longest."""
    if isinstance(error, BaseExceptionGroup):
        asked = [retry_after_of(one) for one in error.exceptions]
        return max((seconds for seconds in asked if seconds is not None), default=None)
    return error.retry_after_seconds if isinstance(error, TransientError) else None


def _after(error: BaseException, attempts_used: int) -> RetryCallState:
    """The view tenacity has of a call that has just raised `error`."""
    state = RetryCallState(retry_object=_NEVER_RUN, fn=None, args=(), kwargs={})
    state.attempt_number = attempts_used
    outcome = Future(attempts_used)
    outcome.set_exception(error)
    state.outcome = outcome
    return state


_NEVER_RUN = Retrying()
