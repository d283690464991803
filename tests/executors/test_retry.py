from __future__ import annotations

import math
import pickle
from datetime import timedelta
from typing import Any

import pytest
from tenacity import retry_always, retry_if_exception_type, wait_fixed

from afterwards_executors.retry import (
    PermanentError,
    RetryPolicy,
    Starved,
    TransientError,
    retry_after_of,
)


@pytest.mark.parametrize("error", [TransientError("x"), ConnectionResetError(), TimeoutError()])
def test_connections_time_outs_and_errors_that_say_so_are_transient(error: Exception) -> None:
    assert RetryPolicy().is_transient(error)


@pytest.mark.parametrize("error", [PermanentError("x"), ValueError(), KeyError(), OSError()])
def test_other_errors_are_permanent(error: Exception) -> None:
    assert not RetryPolicy().is_transient(error)


def test_a_policy_can_name_its_own_errors() -> None:
    policy = RetryPolicy(retry=retry_if_exception_type(KeyError))

    assert policy.is_transient(KeyError())
    assert not policy.is_transient(ConnectionError())
    assert policy.is_transient(TransientError())


def test_a_permanent_error_gets_no_second_attempt() -> None:
    assert RetryPolicy().next_delay_seconds(1, transient=False) is None


def test_attempts_run_out() -> None:
    policy = RetryPolicy(max_attempts=3)
    delays = [policy.next_delay_seconds(used, transient=True) for used in (1, 2, 3, 4)]

    assert [delay is None for delay in delays] == [False, False, True, True]


def test_one_piece_of_work_can_have_its_own_limit() -> None:
    policy = RetryPolicy(max_attempts=3)

    assert policy.next_delay_seconds(1, transient=True, max_attempts=1) is None
    assert policy.next_delay_seconds(3, transient=True, max_attempts=4) is not None


def test_delays_grow_with_jitter_up_to_a_limit() -> None:
    policy = RetryPolicy(max_attempts=100)

    for used, least in [(1, 1), (2, 2), (3, 4), (20, 60)]:
        delay = policy.next_delay_seconds(used, transient=True)
        assert delay is not None
        assert least <= delay <= min(least + 1, 60)


def test_the_wait_is_a_strategy_of_the_policy() -> None:
    assert RetryPolicy(wait=wait_fixed(7)).next_delay_seconds(1, transient=True) == 7.0


def test_a_group_is_transient_if_all_are_that_are_in_it() -> None:
    policy = RetryPolicy()
    some = ExceptionGroup("some", [TransientError("a"), ExceptionGroup("in it", [TimeoutError()])])
    assert policy.is_transient(some)
    assert not policy.is_transient(ExceptionGroup("mixed", [some, ValueError()]))
    assert not RetryPolicy(retry=retry_always).is_transient(
        ExceptionGroup("mixed", [KeyError(), PermanentError()])
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90.0),
        (timedelta(minutes=2), 120.0),
        (0.5, 0.5),
        (-3, 0.0),
        (math.inf, 10 * 365 * 86_400.0),
    ],
)
def test_an_error_can_say_after_how_long_it_is_worth_another_attempt(
    given: float | timedelta, seconds: float
) -> None:
    error = TransientError("busy", retry_after=given)
    assert (str(error), retry_after_of(error)) == ("busy", seconds)
    assert retry_after_of(ExceptionGroup("x", [TransientError(retry_after=0), error])) == seconds
    policy = RetryPolicy(wait=wait_fixed(7))
    delay = policy.next_delay_seconds(1, transient=True, retry_after=retry_after_of(error))
    assert delay == seconds
    # It is no further attempt.
    assert policy.next_delay_seconds(3, transient=True, retry_after=seconds) is None
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), retry_after_of(copy)) == ("busy", seconds)


def test_an_error_that_says_nothing_leaves_the_wait_to_the_policy() -> None:
    for error in (TransientError("busy"), Starved("x"), ValueError()):
        assert retry_after_of(error) is None


@pytest.mark.parametrize(
    ("given", "kind"), [("soon", TypeError), (True, TypeError), (math.nan, ValueError)]
)
def test_a_length_of_time_that_is_none_is_refused(given: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="retry_after must be"):
        TransientError("busy", retry_after=given)
