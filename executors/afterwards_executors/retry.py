"""Which errors are worth another attempt, how many, and after how long: tenacity decides.

The wait is not slept here. A `RetryPolicy` answers with a number of seconds, and the caller puts
the work away until then; so a backoff occupies no slot and survives a restart.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field

from tenacity import (
    Future,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)
from tenacity.retry import retry_base
from tenacity.wait import wait_base


class TransientError(Exception):
    """Raised by work that may succeed if it is tried again."""


class Starved(TransientError):
    """Raised by work that lacked what everybody shares, such as descriptors.

    It is tried again, and this attempt is not counted.
    """


class PermanentError(Exception):
    """Raised by work that will fail however often it is tried."""


TRANSIENT_ERRORS: tuple[type[BaseException], ...] = (
    TransientError,
    ConnectionError,
    TimeoutError,
    BrokenExecutor,
)
"""A connection that broke, a limit that ran out, a process that was lost, or work that says so."""


def _default_retry() -> retry_base:
    return retry_if_exception_type(TRANSIENT_ERRORS)


def _default_wait() -> wait_base:
    return wait_exponential_jitter(initial=1, max=60, jitter=1)


@dataclass(frozen=True)
class RetryPolicy:
    """tenacity's three strategies, asked after each attempt.

    The default: three attempts, about 1 s and 2 s apart, for transient errors only.
    """

    max_attempts: int = 3
    wait: wait_base = field(default_factory=_default_wait)
    """How long to wait before the next attempt, in seconds."""
    retry: retry_base = field(default_factory=_default_retry)
    """Which exceptions are worth another attempt."""

    def is_transient(self, error: BaseException) -> bool:
        """Whether `error` is worth another attempt; a `TransientError` says so itself."""
        return isinstance(error, TransientError) or self.retry(_after(error, attempts_used=1))

    def next_delay_seconds(
        self, attempts_used: int, *, transient: bool, max_attempts: int | None = None
    ) -> float | None:
        """After an attempt that ended in an error: seconds until the next one, or None to give up.

        Args:
            attempts_used: attempts that ended in an error, this one included; from 1.
            transient: whether this error is worth another attempt.
            max_attempts: overrides the policy's, for one piece of work.
        """
        if not transient:
            return None
        state = _after(TransientError(), attempts_used)
        limit = self.max_attempts if max_attempts is None else max_attempts
        if stop_after_attempt(limit)(state):
            return None
        return float(self.wait(state))


def _after(error: BaseException, attempts_used: int) -> RetryCallState:
    """The view tenacity has of a call that has just raised `error`."""
    state = RetryCallState(retry_object=_NEVER_RUN, fn=None, args=(), kwargs={})
    state.attempt_number = attempts_used
    outcome = Future(attempts_used)
    outcome.set_exception(error)
    state.outcome = outcome
    return state


_NEVER_RUN = Retrying()
