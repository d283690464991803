"""The decision to try a task again: its type's policy is asked where its code is."""

from __future__ import annotations

import math
from collections.abc import Iterator

from afterwards.logs import get_logger
from afterwards.task_types.base import Cancelled, Interrupted
from afterwards_executors.base import describe
from afterwards_executors.retry import RetryPolicy, retry_after_of

log = get_logger(__name__)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The error, or those that are in a group of them."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


def is_transient(policy: RetryPolicy, error: BaseException) -> bool:
    """True if `error` is worth another attempt; by the default policy if this one is broken."""
    if any(isinstance(one, Cancelled | Interrupted) for one in leaves(error)):
        return False
    try:
        return policy.is_transient(error)
    except Exception as broken:  # noqa: BLE001 - a type's policy may be anybody's code
        # What went wrong with the task is still what its reader has to be told.
        log.error("retry policy is broken; the default is used", error=describe(broken))
        return RetryPolicy().is_transient(error)


def seconds_until_next(
    policy: RetryPolicy,
    attempts_used: int,
    max_attempts: int | None,
    error: BaseException | None = None,
) -> float | None:
    """After a transient error: how long until the next attempt; None: there is none.

    By the default policy if this one is broken.

    Args:
        attempts_used: as the attempt's context has it: without the one that has just ended.
        max_attempts: the task's own; None: the policy's.
        error: what ended the attempt; it may say itself how long (`TransientError`).
    """
    retry_after = None if error is None else retry_after_of(error)
    limit = policy.max_attempts if max_attempts is None else max_attempts
    for one in (policy, RetryPolicy()):
        try:
            seconds = one.next_delay_seconds(
                attempts_used + 1, transient=True, max_attempts=limit, retry_after=retry_after
            )
            if seconds is None or 0 <= seconds < math.inf:
                return seconds
            problem = f"waits {seconds} s"
        except Exception as broken:  # noqa: BLE001 - a type's policy may be anybody's code
            problem = describe(broken)
        log.error("retry policy is broken; the default is used", error=problem)
    return None
