"""From what has become of an attempt to what the registry is told."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from afterwards import artifacts
from afterwards.execution.tracebacks import MOST_BYTES
from afterwards.lifecycle import CROWD_SHARE, Usage
from afterwards.logs import get_logger
from afterwards.registry.protocol.answers import Claim
from afterwards.registry.protocol.requests import (
    Failed,
    Lost,
    Released,
    Report,
    Stopped,
    Succeeded,
    Suspected,
)
from afterwards_executors.base import End, Outcome
from afterwards_executors.retry import RetryPolicy

log = get_logger(__name__)

_REMEMBERED: Final = 10_000


class Reports:
    """Makes reports; remembers whose attempts had to be released because of a neighbour."""

    def __init__(self) -> None:
        self._released: OrderedDict[str, None] = OrderedDict()

    def of(self, claim: Claim, outcome: Outcome, *, is_cancelled: bool) -> Report:
        """The report of an attempt that was started.

        Args:
            is_cancelled: its cancellation was asked for.
        """
        task_id, number = claim.task_id, claim.attempt
        error = outcome.error or "unknown error"
        lines, usage = outcome.log_lines, _usage(outcome)
        match outcome.end:
            case End.SUCCEEDED:
                result, seconds = outcome.value or b"{}", outcome.run_seconds
                files = _artifacts(claim, outcome)
                return Succeeded(task_id, number, result, seconds, usage, lines, artifacts=files)
            case End.LOST:
                return Lost(task_id, number, error, usage, lines)
            case End.SUSPECTED:
                crowd = max(1, outcome.crowd // CROWD_SHARE)
                return Suspected(task_id, number, error, crowd, usage, lines)
            case End.FAILED | End.TIMED_OUT:
                delay = _delay_seconds(claim, outcome)
                timed_out = outcome.end is End.TIMED_OUT
                seconds = outcome.run_seconds
                traceback = _traceback(outcome)
                return Failed(
                    task_id,
                    number,
                    error,
                    seconds,
                    delay,
                    timed_out,
                    usage,
                    lines,
                    traceback,
                    # A task module's error of that kind is no word on a webhook.
                    gone=outcome.gone and claim.target is not None,
                )
            case _:
                return self._of_the_innocent(claim, outcome.end, error, is_cancelled=is_cancelled)

    def _of_the_innocent(self, claim: Claim, end: End, error: str, *, is_cancelled: bool) -> Report:
        """The report of an attempt whose end is not its own doing."""
        if end is End.RELEASED:
            return self._released_for_a_neighbour(claim, error)
        if end is End.CANCELLED and is_cancelled:
            return Stopped(claim.task_id, claim.attempt)
        return Released(claim.task_id, claim.attempt, error)

    def _released_for_a_neighbour(self, claim: Claim, error: str) -> Report:
        """The first time it is only released; then it is next alone, so that it has its turn."""
        if claim.task_id not in self._released:
            self._released[claim.task_id] = None
            if len(self._released) > _REMEMBERED:
                self._released.popitem(last=False)
            return Released(claim.task_id, claim.attempt, error)
        del self._released[claim.task_id]
        return Suspected(claim.task_id, claim.attempt, error, 1)


def _usage(outcome: Outcome) -> Usage | None:
    if outcome.cpu_seconds is None or outcome.peak_memory_bytes is None:
        return None
    return Usage(outcome.peak_memory_bytes, outcome.cpu_seconds)


def _artifacts(claim: Claim, outcome: Outcome) -> str | None:
    if outcome.extra is None:
        return None
    try:
        return artifacts.checked(outcome.extra, claim.task_id, claim.attempt)
    except ValueError as error:
        # Only a child that is broken says such things.
        log.warning(
            "attempt's artifacts cannot be read; the task lists none",
            task_id=claim.task_id,
            attempt=claim.attempt,
            error=str(error),
        )
        return None


def _traceback(outcome: Outcome) -> str | None:
    # From a host, so that anything may be in it.
    given = outcome.value
    return given[:MOST_BYTES].decode(errors="replace") if given else None


def _delay_seconds(claim: Claim, outcome: Outcome) -> float | None:
    """The time until the next attempt; None: there is none.

    Its type's policy has said so where the attempt ran. Where it could not, the default does.
    """
    told = outcome.retry_in_seconds
    # From a host, so that anything may be in it.
    if told is not None and 0 <= told < math.inf:
        return told
    return RetryPolicy().next_delay_seconds(
        claim.attempts_used + 1, transient=outcome.transient, max_attempts=claim.max_attempts
    )
